package scenarios

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
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
//
// The disk needs room for three times as much, and for what is being compacted.
func TestFollowerFarBehindCatchesUpWithinTheMemoryLimit(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Args: []string{"--shards", "1", "--memory-limit", "1GiB", "--raft-snapshot-threshold", "500",
		"--raft-trailing-logs", "100", "--raft-trailing-bytes", "4MiB", "--raft-snapshot-interval", "1s"}})
	limited := true
	for _, n := range c.Nodes {
		limited = limitMemory(t, n) && limited
	}
	peaks := watchPeaks(t, c)
	leader, shards := c.LeaderOfMost(recovery)
	behind := c.Others(leader)[0]
	behind.Kill()
	filling := time.Now()
	wrote := fillWith(t, c, *behindMegabytes<<20)
	filled := time.Since(filling)
	l := startLoad(t, c, 32, 100, c.Others(behind)...)
	cluster.Eventually(t, recovery, "writers", func() error { return atLeast(l.PhaseAcked(), 2000) })
	before := l.Begin("catching up")
	start := time.Now()
	behind.Run()
	limited = limitMemory(t, behind) && limited
	// A megabyte may take a tenth of a second; most of that is the disk of a busy build server.
	limit := 2*recovery + time.Duration(*behindMegabytes)*100*time.Millisecond
	progress := every(30 * time.Second)
	cluster.Eventually(t, limit, "the follower catches up", func() error {
		now, lead := replica(t, behind, shards[0]), replica(t, leader, shards[0])
		if lead.CommitIndex == 0 || now.AppliedIndex+500 < lead.CommitIndex {
			if progress() {
				say(t, "%v after the start: %d snapshots, applied %d of %d, %d writes acknowledged meanwhile", time.Since(start).Round(time.Second),
					now.SnapshotsInstalled, now.AppliedIndex, lead.CommitIndex, l.PhaseAcked())
			}
			return fmt.Errorf("applied %d of %d, %d snapshots", now.AppliedIndex, lead.CommitIndex, now.SnapshotsInstalled)
		}
		return nil
	})
	took := time.Since(start)
	meanwhile := l.Begin("caught up")
	if meanwhile.Acked == 0 {
		t.Error("no write was acknowledged while it caught up")
	}
	// One, and another if it was cut off in the middle. More of them would mean that the log is cut faster than it catches up.
	snapshots := replica(t, behind, shards[0]).SnapshotsInstalled
	if snapshots == 0 || snapshots > 3 {
		t.Errorf("it has caught up by %d snapshots, one is enough and needed", snapshots)
	}
	makeOnlyCandidate(t, c, l, behind, shards[0])
	missing := verify(t, behind, l.stop())
	report.Add("follower behind", "%d MB behind, written in %.0fs; caught up in %.1fs by %d snapshots while 32 writers had %d writes acknowledged (p50 %.1f ms, p99 %.1f ms; before %.1f, %.1f); "+
		"%d lost; limit 1 GiB (kernel enforces it: %t), peaks in MiB: %s", wrote>>20, filled.Seconds(), took.Seconds(), snapshots, meanwhile.Acked,
		millis(meanwhile.P50), millis(meanwhile.P99), millis(before.P50), millis(before.P99), missing, limited, peaks(t))
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// every reports true when d has passed since it last did.
func every(d time.Duration) func() bool {
	last := time.Now()
	return func() bool {
		if time.Since(last) < d {
			return false
		}
		last = time.Now()
		return true
	}
}

// watchPeaks looks at the memory of the nodes while they run, because a node that was killed has none. The result ends
// it, checks the peaks against the limit, and lists them.
func watchPeaks(t *testing.T, c *cluster.Cluster) func(*testing.T) string {
	ctx, cancel := context.WithCancel(t.Context())
	peaks := make([]int64, len(c.Nodes))
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			for i, n := range c.Nodes {
				peaks[i] = max(peaks[i], n.PeakMemory())
			}
			cluster.Wait(ctx, 200*time.Millisecond)
		}
	})
	return func(t *testing.T) string {
		t.Helper()
		cancel()
		watching.Wait()
		var list []string
		for i, n := range c.Nodes {
			if peaks[i] > memoryLimit {
				t.Errorf("%s has had %d MiB of memory, more than its limit", n.Name, peaks[i]>>20)
			}
			list = append(list, fmt.Sprintf("%s %d", n.Name, peaks[i]>>20))
		}
		return strings.Join(list, ", ")
	}
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
	progress, start := every(30*time.Second), time.Now()
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
				if i == 0 && progress() {
					say(t, "%v after the start: %d of %d MB written", time.Since(start).Round(time.Second), written.Load()>>20, total>>20)
				}
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
