package scenarios

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/report"
	"github.com/lightning-db/lightning/tests/workload"
)

var behindMegabytes = flag.Int64("scenarios.behind", 200, "how far behind a follower is to catch up from, in megabytes of values")

const memoryLimit = 1 << 30

// TestFollowerFarBehindCatchesUpWithinTheMemoryLimit stops a follower, writes much more than its peers keep in their
// logs, and starts it again while 32 writers go on. Every node is told of a memory limit, and the kernel enforces it.
func TestFollowerFarBehindCatchesUpWithinTheMemoryLimit(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Args: []string{"--shards", "1", "--memory-limit", "1GiB",
		"--raft-snapshot-threshold", "500", "--raft-trailing-logs", "100", "--raft-snapshot-interval", "1s"}})
	limited := true
	for _, n := range c.Nodes {
		limited = limitMemory(t, n) && limited
	}
	leader, shards := c.LeaderOfMost(recovery)
	behind := c.Others(leader)[0]
	behind.Kill()
	wrote := fillWith(t, c, *behindMegabytes<<20)
	l := startLoad(t, c, 32, 100, c.Others(behind)...)
	cluster.Eventually(t, recovery, "writers", func() error { return atLeast(l.PhaseAcked(), 200) })
	before, start := l.PhaseAcked(), time.Now()
	behind.Run()
	limited = limitMemory(t, behind) && limited
	// A megabyte may take a tenth of a second; most of that is the disk of a busy build server.
	limit := 2*recovery + time.Duration(*behindMegabytes)*100*time.Millisecond
	cluster.Eventually(t, limit, "the follower catches up", func() error {
		now, lead := replica(t, behind, shards[0]), replica(t, leader, shards[0])
		if lead.CommitIndex == 0 || now.AppliedIndex+500 < lead.CommitIndex {
			return fmt.Errorf("applied %d of %d, %d snapshots", now.AppliedIndex, lead.CommitIndex, now.SnapshotsInstalled)
		}
		return nil
	})
	took, meanwhile := time.Since(start), l.PhaseAcked()-before
	if meanwhile == 0 {
		t.Error("no write was acknowledged while it caught up")
	}
	snapshots := replica(t, behind, shards[0]).SnapshotsInstalled
	if snapshots == 0 {
		t.Error("it was not so far behind that it needed a snapshot")
	}
	makeOnlyCandidate(t, c, l, behind, shards[0])
	peaks := ""
	for _, n := range c.Nodes {
		peak := n.PeakMemory()
		peaks += fmt.Sprintf(" %d", peak>>20)
		if peak > memoryLimit {
			t.Errorf("%s has had %d MiB of memory, more than its limit", n.Name, peak>>20)
		}
	}
	missing := verify(t, behind, l.stop())
	report.Add("follower behind", "%d MB behind, caught up in %.1fs by %d snapshots while 32 writers had %d writes acknowledged; %d lost; limit 1 GiB (kernel enforces it: %t), peaks in MiB:%s",
		wrote>>20, took.Seconds(), snapshots, meanwhile, missing, limited, peaks)
}

// limitMemory makes the kernel enforce the limit where it can.
func limitMemory(t *testing.T, n *cluster.Node) bool {
	t.Helper()
	if _, err := n.LimitMemory(memoryLimit); err != nil {
		say(t, "only the peak is checked: %v", err)
		return false
	}
	return true
}

// fillWith has so many bytes of values acknowledged, which no compression makes smaller, and returns how many.
func fillWith(t *testing.T, c *cluster.Cluster, total int64) int64 {
	t.Helper()
	const valueBytes, writers = 64 << 10, 8
	var written, failed atomic.Int64
	var wg sync.WaitGroup
	for i := range writers {
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		wg.Go(func() {
			r := workload.DialRESP(c.Running()[i%len(c.Running())].RESP, nil)
			defer r.Close()
			for n := 0; written.Load() < total && failed.Load() < 1000; n++ {
				if err := set(t.Context(), r, fmt.Sprintf("fill/%d/%d", i, n), noise(rng, valueBytes)); err != nil {
					failed.Add(1)
					cluster.Wait(t.Context(), 100*time.Millisecond)
					continue
				}
				written.Add(valueBytes)
			}
		})
	}
	wg.Wait()
	if written.Load() < total {
		t.Fatalf("%d bytes written of %d, %d writes failed", written.Load(), total, failed.Load())
	}
	return written.Load()
}

func set(ctx context.Context, r *workload.RESP, key string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return r.Client.Set(ctx, key, value, 0).Err()
}

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		v := rng.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return b
}
