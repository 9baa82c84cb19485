package raft

import (
	"errors"
	"fmt"
	"testing"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft/mux"
)

// TestAFollowerWhoseLogBeginsWithAConflictIsRepaired: all that its log holds follows the state machine's durable
// state, was written by a leader that lost it, and is at odds with what the others have there.
func TestAFollowerWhoseLogBeginsWithAConflictIsRepaired(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "k", "1")
	c.converge(7, "k", "1")
	leader := c.leader(7)
	odd := c.others(leader)[0]
	if err := odd.groups[7].Snapshot(); err != nil {
		t.Fatal(err)
	}
	odd.stop()
	odd.loseAllButATail(t)
	if err := leader.groups[7].TransferLeadership(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	c.write(7, "k", "2", c.others(odd)[0].name, c.others(odd)[1].name)
	odd.start()
	c.converge(7, "k", "2")
	if n := odd.groups[7].Status().SnapshotsInstalled; n != 0 {
		t.Errorf("%d snapshots", n)
	}
}

// loseAllButATail replaces the log of a node that is stopped by entries that nobody else has, behind what its
// state machine holds.
func (n *testNode) loseAllButATail(t *testing.T) {
	t.Helper()
	storage, err := NewNodeStorage(NodeStorageOptions{Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System()})
	if err != nil {
		t.Fatal(err)
	}
	log, err := storage.Open(7, 1)
	if err != nil {
		t.Fatal(err)
	}
	state := n.machines[7].Durable()
	last, err := log.LastIndex()
	if err != nil || last != uint64(state.Index) {
		t.Fatalf("the log ends at %d, the state at %d: %v", last, state.Index, err)
	}
	if err := log.DeleteRange(0, last); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		e := &hraft.Log{Index: last + 1 + i, Term: uint64(state.Term), Type: hraft.LogCommand, Data: []byte("k=lost")}
		if err := log.StoreLog(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := storage.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAFollowerAheadOfWhatItsLeaderThinksIsNotAskedForever (RM12): an earlier leader's snapshot was put in place on
// it, or an answer was lost, and its log begins behind what this leader has sent last, whose own goes back to the
// first entry.
func TestAFollowerAheadOfWhatItsLeaderThinksIsNotAskedForever(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "k", "1")
	c.converge(7, "k", "1")
	leader := c.leader(7)
	odd, other := c.others(leader)[0], c.others(leader)[1]
	odd.crash()
	for i := range 20 {
		c.write(7, "k", fmt.Sprint(i), leader.name, other.name)
	}
	testkit.Eventually(t, patience, func() bool { return other.machines[7].get("k") == "19" }, "not applied")
	state, content := other.machines[7].encode()
	odd.replaceState(t, state, content)
	odd.start()
	c.write(7, "k", "end", leader.name, other.name)
	c.converge(7, "k", "end")
	if n := odd.groups[7].Status().SnapshotsInstalled; n != 0 {
		t.Errorf("%d snapshots", n)
	}
}

// replaceState gives a node that is stopped a state, and a log that begins with the last entry of it.
func (n *testNode) replaceState(t *testing.T, state State, content []byte) {
	t.Helper()
	if err := vfs.WriteFileAtomic(n.disk, "machine-7", testStateFile, content); err != nil {
		t.Fatal(err)
	}
	storage, err := NewNodeStorage(NodeStorageOptions{Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System()})
	if err != nil {
		t.Fatal(err)
	}
	log, err := storage.Open(7, 1)
	if err != nil {
		t.Fatal(err)
	}
	last, err := log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	e := &hraft.Log{Index: uint64(state.Index), Term: uint64(state.Term), Type: hraft.LogCommand, Data: []byte("k=19")}
	if err := errors.Join(log.DeleteRange(0, last), log.StoreLog(e), log.SetUint64([]byte(keyCurrentTerm), e.Term), storage.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestASnapshotIsMadeOnlyByTheLeaderOfTheTermThatAnnouncesIt (R15): what a replica that was deposed meanwhile holds may
// have been committed under a later term than the receiver knows of.
func TestASnapshotIsMadeOnlyByTheLeaderOfTheTermThatAnnouncesIt(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "k", "1")
	follower := c.others(c.leader(7))[0]
	i := follower.groups[7].current.Load()
	_, data, err := i.group.snapshots.Open(durableID)
	if err != nil {
		t.Fatal(err)
	}
	r := &hraft.InstallSnapshotRequest{Term: i.raft.CurrentTerm() - 1}
	if _, err := i.PrepareSnapshot(r, data, 0); !errors.Is(err, errSnapshotDeposed) {
		t.Errorf("made: %v", err)
	}
	if err := data.Close(); err != nil {
		t.Error(err)
	}
}

// TestASnapshotWhoseEntriesTheLogHasIsNotPutInPlace (R16): the library would go back to its membership, though a later
// entry of the log has set another.
func TestASnapshotWhoseEntriesTheLogHasIsNotPutInPlace(t *testing.T) {
	c := newTestCluster(t, 1)
	c.write(7, "k", "1")
	i := c.leader(7).groups[7].current.Load()
	last, err := i.group.store.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var e hraft.Log
	if err := i.group.store.GetLog(last, &e); err != nil {
		t.Fatal(err)
	}
	if err := i.AdmitSnapshot(e.Index, e.Term); !errors.Is(err, mux.ErrSnapshotHeld) {
		t.Fatalf("admitted: %v", err)
	}
	// The log reaches the snapshot after that was asked.
	s := i.group.snapshots
	s.mu.staged[position{e.Index, e.Term}] = &receivedSnapshot{}
	if _, err := s.Create(1, e.Index, e.Term, hraft.Configuration{}, 0, nil); !errors.Is(err, errSnapshotOvertaken) {
		t.Fatalf("created: %v", err)
	}
}
