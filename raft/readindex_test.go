package raft

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
)

// TestReadsAreServedWhileTheLeadersWriteDoesNotEnd: a read index needs neither the library's main loop nor
// the log, both of which a slow sync holds up.
func TestReadsAreServedWhileTheLeadersWriteDoesNotEnd(t *testing.T) {
	var f faults
	c := newTestCluster(t, 3, f.configure, func(c *testCluster) { c.timing.HeartbeatTimeout = 5 * time.Second })
	c.write(7, "a", "1")
	leader := c.leader(7)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free) // before the nodes are stopped
	f.stall = release
	f.start(leader, "stall")
	waiting := leader.groups[7].Propose([]byte("a=2"))
	testkit.Eventually(t, patience, func() bool {
		leader.groups[7].log.writes.mu.Lock()
		defer leader.groups[7].log.writes.mu.Unlock()
		return len(leader.groups[7].log.writes.began) > 0
	}, "nothing is written")
	for range 10 {
		if got, err := leader.read(within(t, patience), 7, "a"); err != nil || got != "1" {
			t.Fatalf("read = %q, %v", got, err)
		}
	}
	select {
	case <-waiting.Done():
		t.Fatal("the write has ended, this test proves nothing")
	default:
	}
	f.what.Store("")
	free()
	if _, _, err := waiting.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
}

// TestReadsGoOnWhenTheVoterThatIsAskedFirstIsSilent: with one of two followers cut off, whichever it is,
// the other one confirms, and is asked first from then on.
func TestReadsGoOnWhenTheVoterThatIsAskedFirstIsSilent(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "a", "1")
	leader := c.leader(7)
	for _, silent := range c.others(leader) {
		c.isolate(silent)
		for range 20 {
			if got, err := leader.read(within(t, patience), 7, "a"); err != nil || got != "1" {
				t.Fatalf("with %s cut off: read = %q, %v", silent.name, got, err)
			}
		}
		c.rejoin(silent)
		c.write(7, "b", string(silent.name))
		c.converge(7, "b", string(silent.name))
		if c.leader(7) != leader {
			return // the other half is about a leader with two followers that it knows
		}
	}
}

// TestReadsThatWaitTogetherShareARound: each costs the group no more than a place in line.
func TestReadsThatWaitTogetherShareARound(t *testing.T) {
	q := readQueue{wake: make(chan struct{}, 1)}
	first, err := q.join()
	if err != nil {
		t.Fatal(err)
	}
	var joined atomic.Int32
	if n := testing.AllocsPerRun(100, func() {
		r, err := q.join()
		if err != nil || r != first {
			t.Error("another round", err)
		}
		joined.Add(1)
	}); n != 0 {
		t.Errorf("%v allocations for a read that joins", n)
	}
	if r := q.take(false); r != first || len(q.wake) != 1 {
		t.Fatal("the round was not announced once")
	}
	if next, err := q.join(); err != nil || next == first {
		t.Fatal("joined a round that has begun", err)
	}
	first.finish(5, nil)
	<-first.done
	q.take(true)
	if _, err := q.join(); err == nil {
		t.Fatal("joined after the end")
	}
}

// BenchmarkReadIndex is the cost of confirming reads on a leader of three nodes.
func BenchmarkReadIndex(b *testing.B) {
	c := newTestCluster(b, 3)
	c.write(7, "a", "1")
	g := c.leader(7).groups[7]
	b.SetParallelism(32) // 64 readers on two processors
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := g.ReadIndex(b.Context()); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
