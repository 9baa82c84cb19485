package raft

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

// TestTheLogKeepsWhatAFollowerLacksAfterItsSnapshot until it has caught up, is gone, or the log must shrink.
func TestTheLogKeepsWhatAFollowerLacksAfterItsSnapshot(t *testing.T) {
	c := newTestCluster(t, 1)
	for n := range 2 * caughtUp {
		c.write(7, "k", fmt.Sprint(n))
	}
	g := c.leader(7).groups[7]
	i, last := g.current.Load(), uint64(g.Status().LastLog)
	var unpinned atomic.Int32
	sent := func(heard uint64) {
		unpinned.Store(0)
		s := &sentSnapshot{unpin: func() { unpinned.Add(1) }}
		i.SnapshotSent("x#1", s)
		if !s.kept {
			t.Fatal("the end of the transfer lets the entries go")
		}
		i.progress.note("x#1", last/2, heard)
	}
	look := func(now uint64, want int32) {
		t.Helper()
		if i.lookAtCatchUps(now, false); unpinned.Load() != want {
			t.Fatalf("let go %d times, want %d", unpinned.Load(), want)
		}
	}
	const future = 1 << 40 // the host's own looks find it alive
	sent(future)
	look(future+maxCatchUpSilence, 0)
	look(future+maxCatchUpSilence+1, 1)
	sent(future)
	i.progress.note("x#1", last-caughtUp, future)
	testkit.Eventually(t, patience, func() bool { return unpinned.Load() == 1 }, "it has caught up, and the entries stay")
	sent(future)
	if err := g.release(1); err != nil || unpinned.Load() != 1 {
		t.Fatalf("a full storage: %v, let go %d times", err, unpinned.Load())
	}
	sent(future)
	_ = g.Close()
	look(future, 1)
}
