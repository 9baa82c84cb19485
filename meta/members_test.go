package meta

import (
	"testing"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
)

func reserveCommand() *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_ReserveMapReplica{ReserveMapReplica: &peerv1.MetaReserveMapReplica{}}}
}

func leavesCommand(node string, to pb.NodeState, moves bool) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_SetNodeState{SetNodeState: &peerv1.MetaSetNodeState{NodeId: node, State: to, MapMoves: moves}}}
}

// applyMembers puts a membership into the log of the map.
func applyMembers(t *testing.T, m *Machine, members ...raft.Server) {
	t.Helper()
	index := m.now.Load().position.Index + 1
	if _, err := m.Apply([]raft.Entry{{Index: index, Term: 1, Configuration: &raft.Configuration{Index: index, Servers: members}}}); err != nil {
		t.Fatal(err)
	}
}

func voter(node api.NodeID, incarnation uint64) raft.Server {
	return raft.Server{Replica: raft.ReplicaID{Node: node, Incarnation: incarnation}, Voter: true}
}

// TestNoReplicaOfTheMapHasTheIncarnationOfAnother is invariant M9, also when an order was lost, a member left, or the state
// is from before there were such commands.
func TestNoReplicaOfTheMapHasTheIncarnationOfAnother(t *testing.T) {
	m := founded(t)
	applyMembers(t, m, voter("a", 1), voter("b", 1), voter("c", 1))
	used := map[uint64]bool{1: true}
	reserve := func() uint64 {
		t.Helper()
		r := apply(t, m, reserveCommand())
		expectCode(t, r, ok)
		if used[r.GetIncarnation()] {
			t.Errorf("incarnation %d is given out again", r.GetIncarnation())
		}
		used[r.GetIncarnation()] = true
		return r.GetIncarnation()
	}
	reserve() // never used
	learner := voter("d", reserve())
	learner.Voter = false
	applyMembers(t, m, voter("a", 1), voter("b", 1), voter("c", 1), learner)
	if r := MapReplica(m.Map(), "d"); r == nil || !r.Learner || r.Incarnation != learner.Replica.Incarnation {
		t.Errorf("the map shows %v", m.Map().MetaReplicas)
	}
	applyMembers(t, m, voter("a", 1), voter("b", 1), voter("c", 1))
	reserve()
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	m = openMachine(t, m.fsys)
	reserve()
	old := openMachine(t, vfs.NewMem())
	apply(t, old, initCommand("C", "a"))
	state := old.now.Load().state
	state.Map.MetaReplicas = []*pb.Replica{{NodeId: "a", Incarnation: 7}}
	if r := apply(t, old, reserveCommand()); r.GetIncarnation() != 8 {
		t.Errorf("after 7 comes %d", r.GetIncarnation())
	}
}

// TestANodeThatHoldsTheMapLeavesOnlyWhereItCanMove: the command says so, and every node has to know it (M11).
func TestANodeThatHoldsTheMapLeavesOnlyWhereItCanMove(t *testing.T) {
	for _, state := range []pb.NodeState{pb.NodeState_NODE_STATE_DECOMMISSIONING, pb.NodeState_NODE_STATE_LOST} {
		m := founded(t)
		applyMembers(t, m, voter("e", 1))
		expectCode(t, apply(t, m, leavesCommand("e", state, false)), conflict)
		expectCode(t, apply(t, m, leavesCommand("e", state, true)), ok)
		expectCode(t, apply(t, m, removeCommand("e")), conflict)
		applyMembers(t, m, voter("a", 2))
		expectCode(t, apply(t, m, removeCommand("e")), ok)
	}
	m := &pb.ClusterMap{Nodes: []*pb.Node{{Id: "a", Name: "a", CommandVersion: 3}, {Id: "d", Name: "d", CommandVersion: 2}}}
	for _, c := range []*peerv1.MetaCommand{reserveCommand(), leavesCommand("a", pb.NodeState_NODE_STATE_DECOMMISSIONING, true)} {
		if err := everyoneKnows(m, c); err == nil {
			t.Errorf("%v is proposed, and node d does not know it", c)
		}
		m.Nodes[1].CommandVersion = 3
		if err := everyoneKnows(m, c); err != nil {
			t.Error(err)
		}
		m.Nodes[1].CommandVersion = 2
	}
}
