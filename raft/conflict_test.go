package raft

import (
	"testing"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
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
