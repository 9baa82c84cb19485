package raft

import (
	"errors"
	"fmt"
	"testing"

	hraft "github.com/hashicorp/raft"

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
	held := func() int {
		g.log.mu.Lock()
		defer g.log.mu.Unlock()
		return len(g.log.pins)
	}
	sent := func(heard uint64) *sentSnapshot {
		s := &sentSnapshot{pin: g.log.pin(1)}
		s.pin.settle(1, 1000)
		i.SnapshotSent("x#1", s)
		if !s.kept {
			t.Fatal("the end of the transfer lets the entries go")
		}
		i.progress.note("x#1", last/2, heard)
		return s
	}
	look := func(now uint64, want int) {
		t.Helper()
		if i.lookAtCatchUps(now, false); held() != want {
			t.Fatalf("%d pins are held, want %d", held(), want)
		}
	}
	const future = 1 << 40 // the host's own looks find it alive
	s := sent(future)
	look(future+maxCatchUpSilence, 1)
	if s.pin.index != last/2 {
		t.Fatalf("the follower has %d entries, those from %d on are kept", last/2, s.pin.index)
	}
	look(future+maxCatchUpSilence+1, 0)
	sent(future)
	i.progress.note("x#1", last-caughtUp, future)
	testkit.Eventually(t, patience, func() bool { return held() == 0 }, "it has caught up, and the entries stay")
	s = sent(future)
	if lost := g.log.losePins(1000); lost != 0 || s.pin.isLost() {
		t.Fatal("the log may exceed its limit by what the snapshot has, and the pin is lost")
	}
	if lost := g.log.losePins(1001); lost != 1 || !s.pin.isLost() || held() != 0 {
		t.Fatal("the log exceeds its limit by more than the snapshot has, and the pin is held")
	}
	look(future, 0)
	if len(i.catchUps.list) != 0 {
		t.Fatal("a follower whose pin is lost is still waited for")
	}
	sent(future)
	_ = g.Close()
	look(future, 0)
}

// TestASnapshotThatTheLogHasOutgrownEnds: its follower would need another one anyway.
func TestASnapshotThatTheLogHasOutgrownEnds(t *testing.T) {
	c := newTestCluster(t, 1)
	c.write(7, "k", "v")
	g := c.leader(7).groups[7]
	meta, data, err := g.snapshots.Open(durableID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := data.Read(make([]byte, 10)); !errors.Is(err, errSnapshotUnmade) {
		t.Fatalf("read before it is made: %v", err)
	}
	i := g.current.Load()
	request := hraft.InstallSnapshotRequest{Term: i.raft.CurrentTerm()}
	const beyond = 1 << 40 // which the log does not have
	if needed, err := i.PrepareSnapshot(&request, data, beyond); !needed || err != nil {
		t.Fatal(needed, err)
	}
	if meta.Index != uint64(g.Status().Applied) || request.LastLogIndex != meta.Index || request.Size != meta.Size || meta.Size == 0 {
		t.Fatalf("described as %+v and %+v", meta, request)
	}
	if n, err := data.Read(make([]byte, 10)); n != 10 || err != nil {
		t.Fatal(n, err)
	}
	if lost := g.log.losePins(meta.Size + 1); lost != 1 {
		t.Fatal("the pin is held")
	}
	if _, err := data.Read(make([]byte, 10)); !errors.Is(err, errSnapshotOutgrown) {
		t.Fatalf("read: %v", err)
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	meta, data, err = g.snapshots.Open(durableID)
	if err != nil {
		t.Fatal(err)
	}
	if needed, err := i.PrepareSnapshot(&request, data, 1); needed || err != nil || meta.Index != 1 {
		t.Fatalf("a follower that has applied what the log holds needs a snapshot: %t, %v, from %d", needed, err, meta.Index)
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := c.nodes["n1"].disk.List("raft/staging/7-1"); err != nil || len(left) != 0 {
		t.Fatalf("left %v, %v", left, err)
	}
}
