package raft

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/raft/mux"
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

// heldClock is the machine's clock, which answers only when it is not held.
type heldClock struct {
	clock.Real
	hold sync.RWMutex
}

func (h *heldClock) Now() time.Time {
	h.hold.RLock()
	defer h.hold.RUnlock()
	return h.Real.Now()
}

// TestAReadWaitsForTheLastVoterThatCanConfirmIt: when nobody else is left to ask, a slow answer is waited for
// as long as any.
func TestAReadWaitsForTheLastVoterThatCanConfirmIt(t *testing.T) {
	clocks := make(map[string]*heldClock)
	c := newTestCluster(t, 2, func(c *testCluster) {
		c.timing.HeartbeatTimeout = 5 * time.Second
		c.setting = func(n *testNode) {
			clocks[n.name] = new(heldClock)
			n.clock = clocks[n.name]
		}
	})
	c.write(7, "a", "1")
	leader := c.leader(7)
	slow := clocks[c.others(leader)[0].name] // it is asked for the time with each confirmation
	slow.hold.Lock()
	free := sync.OnceFunc(slow.hold.Unlock)
	defer free()
	ctx := within(t, patience)
	read := make(chan error, 1)
	go func() {
		_, err := leader.read(ctx, 7, "a")
		read <- err
	}()
	select {
	case err := <-read:
		t.Fatalf("the read ended before the only other voter answered: %v", err)
	case <-time.After(c.timing.HeartbeatTimeout * 3 / (2 * hedgesPerTimeout)):
	}
	free()
	if err := <-read; err != nil {
		t.Fatal(err)
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

// TestAReadLearnsWhetherThereAreOtherVoters: what the last round found spares a read the look at the
// members, and what it found wrong is set right by the next.
func TestAReadLearnsWhetherThereAreOtherVoters(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c := newTestCluster(t, size)
			c.write(7, "a", "1")
			g := c.leader(7).groups[7]
			g.reads.asksOthers.Store(size == 1)
			if _, err := g.ReadIndex(within(t, patience)); err != nil {
				t.Fatal(err)
			}
			if g.reads.asksOthers.Load() != (size > 1) {
				t.Fatal("a round did not tell the next reads whether to ask others")
			}
		})
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

// A leader that was suspended may find that all of a round's time has passed before it asked every
// voter; one that does not answer then must not hold up the reads of the group for ever.
func TestARoundWhoseTimeHasPassedWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &voterRound{
			instance: &instance{stop: make(chan struct{})}, voters: 3, local: 1, missing: 1,
			answers: make(chan mux.ProbeAnswer, 3), timer: time.NewTimer(time.Second),
		}
		for range 2 {
			if _, ok := r.next(nil); ok {
				t.Error("nobody answered")
			}
			r.missing++ // another voter is asked
		}
	})
}
