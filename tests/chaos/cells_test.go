package chaos

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/report"
)

var (
	cellNames = flag.String("chaos.cells", strings.Join(cellsOfCI, ","), "cells of the matrix, as fault/workload with commas between; all of either is *")
	cellTime  = flag.Duration("chaos.cell-time", 0, "repeat the fault of a cell for so long; 0 is once")
	stuck     = flag.Duration("chaos.stuck", 30*time.Second, "how long after healing a client may go without an answer")
)

// cellsOfCI are for every commit: each workload, and faults that differ in kind.
var cellsOfCI = []string{
	"leader-cut-off/registers", "leader-paused/registers", "one-way-cut/lists",
	"power-cut-of-all/sets", "failed-sync/counters", "all-killed/lists",
}

// TestFaultsBreakNoPromise is the matrix of faults and workloads. In each cell the fault strikes the leader, or all, and
// heals; while a majority is left the cluster goes on, after healing no client is stuck, and what clients
// saw could have happened to one correct copy of the data.
func TestFaultsBreakNoPromise(t *testing.T) {
	seed := newSeed(t)
	for _, f := range faults {
		for _, w := range workloads {
			if name := f.name + "/" + w.name; chosen(name) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					runCell(t, f, seed, w.make)
				})
			}
		}
	}
}

func chosen(cell string) bool {
	fault, work, _ := strings.Cut(cell, "/")
	return slices.ContainsFunc(strings.Split(*cellNames, ","), func(pattern string) bool {
		f, w, _ := strings.Cut(pattern, "/")
		return (f == "*" || f == fault) && (w == "*" || w == work)
	})
}

// shortLogs makes flushes, cuts of the log and snapshots for followers part of what the faults interrupt.
var shortLogs = []string{"--raft-snapshot-threshold", "100", "--raft-trailing-logs", "30", "--raft-snapshot-interval", "300ms", "--memtable-bytes", "262144"}

// cell is what happened in one.
type cell struct {
	strikes, onLeaders int
	waited             time.Duration // the longest until every client had an answer after healing
}

func runCell(t *testing.T, f fault, seed uint64, make func(*testing.T, *cluster.Cluster, uint64, *progress) work) {
	s := setStage(t, f, seed, shortLogs...)
	p := newProgress()
	w := make(t, s.Cluster, seed, p)
	var result cell
	judgement := "not judged"
	defer func() { // also when the test ends before its time
		verdict := "ok"
		if t.Failed() {
			verdict = "FAILED"
		}
		report.Add("cells", "%-26s %3d faults (%d on leaders) %7d acked %5d unknown, longest gap %5.2fs, all served %4.1fs after healing: %s: %s",
			strings.TrimPrefix(t.Name(), "TestFaultsBreakNoPromise/"), result.strikes, result.onLeaders, p.count(), p.unknown.Load(),
			p.longestGap().Seconds(), result.waited.Seconds(), verdict, judgement)
	}()
	whileRunning(w.Run, func() {
		atLeast(t, "steady", time.Second, minAcked, p.count)
		// Whoever led may lead no more when the fault strikes, on a busy machine: then it strikes again.
		for start := time.Now(); result.strikes == 0 || result.onLeaders == 0 && result.strikes < 5 || time.Since(start) < *cellTime; {
			runFault(t, s, f, p, &result)
		}
	})
	if result.onLeaders == 0 {
		t.Error("no fault hit a leader")
	}
	judgement = w.Judge(t, s.Cluster)
}

// runFault strikes, lets the fault last, heals, and waits until everybody is served.
func runFault(t *testing.T, s *stage, f fault, p *progress, result *cell) {
	t.Helper()
	leader, shards := s.LeaderOfMost(recovery)
	others := s.Others(leader)
	s.leader, s.other, s.struck = leader, others[s.rng.IntN(len(others))], leader
	leads := s.Leaders(t.Context())
	before := p.count()
	f.strike(s)
	result.strikes++
	for _, by := range leads {
		if s.struck == nil || by == s.struck {
			result.onLeaders++
			break
		}
	}
	if f.moves {
		for _, shard := range shards {
			s.WaitLeaderMoves(shard, leader, recovery)
		}
	}
	if !f.stops {
		atLeast(t, f.name, f.lasts, minAcked/4, p.count)
	}
	f.heal(s)
	s.WaitReady(recovery)
	result.waited = max(result.waited, p.waitAll(t, f.name, *stuck))
	atLeast(t, f.name+", healed", 500*time.Millisecond, minAcked/2, p.count)
	say(t, "%s, leader of %v: %d acknowledged until served again", leader.Name, shards, p.count()-before)
}
