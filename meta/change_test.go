package meta

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

const (
	removed  = peerv1.MetaCode_META_CODE_REMOVED
	unknown  = peerv1.MetaCode_META_CODE_UNKNOWN
	conflict = peerv1.MetaCode_META_CODE_CONFLICT
)

func stateCommand(id string, state pb.NodeState) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_SetNodeState{SetNodeState: &peerv1.MetaSetNodeState{NodeId: id, State: state}}}
}

func removeCommand(id string) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_RemoveNode{RemoveNode: &peerv1.MetaRemoveNode{NodeId: id}}}
}

func addCommand(shard, epoch uint64, id, replaces string) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_AddReplica{
		AddReplica: &peerv1.MetaAddReplica{ShardId: shard, Epoch: epoch, NodeId: id, Replaces: replaces},
	}}
}

func named(id string, incarnation uint64) *peerv1.MetaReplica {
	return &peerv1.MetaReplica{ShardId: 1, Epoch: firstEpoch, NodeId: id, Incarnation: incarnation}
}

func settleCommand(r *peerv1.MetaReplica) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_SettleReplica{SettleReplica: r}}
}

func leaveCommand(r *peerv1.MetaReplica) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_LeaveReplica{LeaveReplica: r}}
}

func dropCommand(r *peerv1.MetaReplica) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_DropReplica{DropReplica: r}}
}

func preferCommand(shard uint64, id string) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_PreferLeader{PreferLeader: &peerv1.MetaPreferLeader{ShardId: shard, Epoch: firstEpoch, NodeId: id}}}
}

func pauseCommand(paused bool) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_SetRebalance{SetRebalance: &peerv1.MetaSetRebalance{Paused: paused}}}
}

// founded is a machine with the nodes a, b, c, which hold one shard, and d and e, which hold nothing.
func founded(t *testing.T) *Machine {
	t.Helper()
	m := openMachine(t, vfs.NewMem())
	apply(t, m, initCommand("C", "a", "b", "c"))
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		expectCode(t, apply(t, m, registerCommand("C", node(id, "node-"+id))), ok)
	}
	expectCode(t, apply(t, m, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_CreateShards{CreateShards: &peerv1.MetaCreateShards{
		Shards: []*peerv1.MetaNewShard{{EndSlot: api.SlotCount, NodeIds: []string{"a", "b", "c"}}},
	}}}), ok)
	return m
}

// expectTwice applies a command and the same again, which changes nothing more.
func expectTwice(t *testing.T, m *Machine, c *peerv1.MetaCommand, want peerv1.MetaCode) {
	t.Helper()
	first := apply(t, m, c)
	expectCode(t, first, want)
	if again := apply(t, m, c); want == ok && !proto.Equal(first, again) {
		t.Errorf("the repeated command answered %v, the first %v", again, first)
	}
}

func holders(m *Machine) []string {
	var ids []string
	for _, r := range m.Map().Shards[0].Replicas {
		ids = append(ids, fmt.Sprintf("%s#%d", r.NodeId, r.Incarnation))
	}
	return ids
}

func TestAReplicaIsReplacedInStepsThatMayBeRepeated(t *testing.T) {
	m := founded(t)
	founders := proto.CloneOf(m.Map().Shards[0])
	expectTwice(t, m, addCommand(1, 1, "d", "a"), ok)
	expectCode(t, apply(t, m, addCommand(1, 1, "e", "b")), conflict) // one learner at a time
	if r := m.Map().Shards[0].Replicas[3]; !r.Learner || r.Replaces != "a" || r.Incarnation != 2 {
		t.Errorf("the new replica is %v", r)
	}
	expectTwice(t, m, settleCommand(named("d", 2)), ok)
	expectCode(t, apply(t, m, dropCommand(named("a", 1))), conflict) // it was not said to leave
	expectTwice(t, m, leaveCommand(named("a", 1)), ok)
	expectCode(t, apply(t, m, addCommand(1, 1, "a", "")), conflict) // the old one goes first
	expectCode(t, apply(t, m, dropCommand(named("a", 1))), ok)
	expectCode(t, apply(t, m, dropCommand(named("a", 1))), unknown)
	if got := holders(m); !slices.Equal(got, []string{"b#1", "c#1", "d#2"}) {
		t.Errorf("the shard is on %v", got)
	}
	s := m.Map().Shards[0]
	if s.Replicas[2].Replaces != "" || s.PreferredLeader == "a" {
		t.Errorf("what was replaced is still named: %v", s)
	}
	expectCode(t, apply(t, m, addCommand(1, 1, "a", "")), ok)
	if got := m.Map().Shards[0].Replicas[3].Incarnation; got != 3 {
		t.Errorf("the replica that is back has incarnation %d, want one that was never used", got)
	}
	for i, f := range m.Map().Shards[0].Founders {
		if !proto.Equal(f, founders.Founders[i]) {
			t.Errorf("founder %d is %v now", i, f)
		}
	}
}

func TestCommandsForAnotherEpochOrReplicaAreRefused(t *testing.T) {
	m := founded(t)
	revision := m.Map().Revision
	expectCode(t, apply(t, m, addCommand(1, 2, "d", "")), conflict)
	expectCode(t, apply(t, m, addCommand(2, 1, "d", "")), unknown)
	expectCode(t, apply(t, m, addCommand(1, 1, "x", "")), unknown)
	expectCode(t, apply(t, m, addCommand(1, 1, "d", "e")), conflict)
	expectCode(t, apply(t, m, leaveCommand(named("a", 2))), unknown)
	expectCode(t, apply(t, m, settleCommand(named("d", 2))), unknown)
	expectCode(t, apply(t, m, preferCommand(1, "d")), unknown)
	if m.Map().Revision != revision {
		t.Error("refused commands changed the map")
	}
}

func TestTheLastVoterStays(t *testing.T) {
	m := founded(t)
	expectCode(t, apply(t, m, leaveCommand(named("a", 1))), ok)
	expectCode(t, apply(t, m, leaveCommand(named("b", 1))), ok)
	expectCode(t, apply(t, m, leaveCommand(named("c", 1))), conflict)
}

func TestANodeThatHoldsAReplicaStaysInTheMap(t *testing.T) {
	m := founded(t)
	expectCode(t, apply(t, m, removeCommand("a")), conflict) // it is in service
	expectTwice(t, m, stateCommand("a", pb.NodeState_NODE_STATE_DECOMMISSIONING), ok)
	expectCode(t, apply(t, m, removeCommand("a")), conflict) // it holds a replica
	expectCode(t, apply(t, m, addCommand(1, 1, "d", "a")), ok)
	expectCode(t, apply(t, m, settleCommand(named("d", 2))), ok)
	expectCode(t, apply(t, m, leaveCommand(named("a", 1))), ok)
	expectCode(t, apply(t, m, removeCommand("a")), conflict) // it still is in the group perhaps
	expectCode(t, apply(t, m, dropCommand(named("a", 1))), ok)
	expectTwice(t, m, removeCommand("a"), ok)
}

func TestARemovedNodeIsRefusedForEver(t *testing.T) {
	m := founded(t)
	ordinal := m.Map().Nodes[4].Ordinal
	expectCode(t, apply(t, m, stateCommand("e", pb.NodeState_NODE_STATE_DECOMMISSIONING)), ok)
	expectCode(t, apply(t, m, removeCommand("e")), ok)
	for _, name := range []string{"node-e", "other"} {
		r := apply(t, m, registerCommand("C", node("e", name)))
		expectCode(t, r, removed)
		var gone *RemovedNodeError
		if err := registration(r, "C", node("e", name)); !errors.As(err, &gone) {
			t.Errorf("the node hears %v", err)
		}
	}
	expectCode(t, apply(t, m, stateCommand("e", pb.NodeState_NODE_STATE_ACTIVE)), removed)
	expectCode(t, apply(t, m, registerCommand("C", node("f", "node-e"))), ok)
	if n := m.Map().Nodes[4]; n.Id != "f" || n.Ordinal <= ordinal {
		t.Errorf("the node that got the name is %v; the removed one had ordinal %d", n, ordinal)
	}
}

func TestTheNameOfALostNodeGoesToItsReplacement(t *testing.T) {
	m := founded(t)
	expectCode(t, apply(t, m, registerCommand("C", node("f", "node-a"))), knownName)
	expectTwice(t, m, stateCommand("a", pb.NodeState_NODE_STATE_LOST), ok)
	expectTwice(t, m, registerCommand("C", node("f", "node-a")), ok)
	expectCode(t, apply(t, m, registerCommand("C", node("a", "node-a"))), removed)
	expectCode(t, apply(t, m, stateCommand("a", pb.NodeState_NODE_STATE_ACTIVE)), removed)
	names := map[string]bool{}
	for _, n := range m.Map().Nodes {
		if names[n.Name] {
			t.Errorf("two nodes have the name %s", n.Name)
		}
		names[n.Name] = true
	}
}

func TestANodeDoesNotChooseItsState(t *testing.T) {
	m := founded(t)
	expectCode(t, apply(t, m, stateCommand("d", pb.NodeState_NODE_STATE_DRAINING)), ok)
	expectCode(t, apply(t, m, registerCommand("C", node("d", "node-d"))), ok)
	if n := m.Map().Nodes[3]; n.State != pb.NodeState_NODE_STATE_DRAINING {
		t.Errorf("a restart made the node %s", n.State)
	}
	expectCode(t, apply(t, m, addCommand(1, 1, "d", "")), conflict) // it gets nothing new
}

func TestNothingIsProposedThatANodeDoesNotKnow(t *testing.T) {
	old := &pb.ClusterMap{Nodes: []*pb.Node{{Name: "new", CommandVersion: commandVersion}, {Name: "old"}}}
	if err := everyoneKnows(old, pauseCommand(true)); api.CodeOf(err) != api.CodeUnavailable {
		t.Errorf("the command is proposed beside a node of an older version: %v", err)
	}
	if err := everyoneKnows(old, tickCommand()); err != nil {
		t.Error(err)
	}
	old.Nodes[1].CommandVersion = commandVersion
	if err := everyoneKnows(old, pauseCommand(true)); err != nil {
		t.Error(err)
	}
}

// TestEveryOrderOfChangesKeepsTheMapSound applies random commands and checks the invariants after each.
func TestEveryOrderOfChangesKeepsTheMapSound(t *testing.T) {
	r := rand.New(rand.NewPCG(uint64(testkit.Seed(t)), 1))
	m := founded(t)
	used := map[string]uint64{} // the highest incarnation on a node
	for range 400 {
		id := string(rune('a' + r.IntN(6)))
		replica := named(id, 1+r.Uint64N(m.Map().Shards[0].LastIncarnation+1))
		commands := []*peerv1.MetaCommand{
			addCommand(1, 1, id, string(rune('a'+r.IntN(6)))), addCommand(1, 1, id, ""), settleCommand(replica), leaveCommand(replica), dropCommand(replica),
			preferCommand(1, id), stateCommand(id, pb.NodeState(r.IntN(4))), removeCommand(id), registerCommand("C", node(id, "node-"+id)), pauseCommand(r.IntN(2) == 0),
		}
		c := commands[r.IntN(len(commands))]
		before := m.Map()
		if apply(t, m, c); proto.Equal(before, m.Map()) != (before.Revision == m.Map().Revision) {
			t.Fatalf("%v: the revision says something else than the map (M2)", c)
		}
		checkSound(t, m.Map(), used)
	}
}

// checkSound fails unless m keeps the invariants of single maps.
func checkSound(t *testing.T, m *pb.ClusterMap, used map[string]uint64) {
	t.Helper()
	voters, learners := 0, 0
	seen := map[string]bool{}
	for _, r := range m.Shards[0].Replicas {
		known := slices.ContainsFunc(m.Nodes, func(n *pb.Node) bool { return n.Id == r.NodeId })
		if seen[r.NodeId] || !known || r.Incarnation > m.Shards[0].LastIncarnation || r.Incarnation < used[r.NodeId] {
			t.Fatalf("a replica is twice on a node, on no node, or has an old incarnation (M5, M9): %v", m.Shards[0])
		}
		seen[r.NodeId], used[r.NodeId] = true, r.Incarnation
		if r.Learner {
			learners++
		} else if !r.Leaving {
			voters++
		}
	}
	if voters == 0 || learners > 1 {
		t.Fatalf("%d voters stay and %d learners are there (M10): %v", voters, learners, m.Shards[0])
	}
	for _, n := range m.Nodes {
		if slices.Contains(m.RemovedNodeIds, n.Id) {
			t.Fatalf("node %s was removed and is there (M8)", n.Id)
		}
	}
}

// TestADeadNodeOfAnOlderVersionCanBeDeclaredLost: it would keep every other change of the map from all that were upgraded.
func TestADeadNodeOfAnOlderVersionCanBeDeclaredLost(t *testing.T) {
	m := &pb.ClusterMap{
		MetaReplicas: []*pb.Replica{{NodeId: "a"}},
		Nodes:        []*pb.Node{{Id: "a", Name: "a", CommandVersion: 2}, {Id: "d", Name: "d"}},
	}
	state := func(node string, to pb.NodeState) *peerv1.MetaCommand {
		return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_SetNodeState{SetNodeState: &peerv1.MetaSetNodeState{NodeId: node, State: to}}}
	}
	if err := everyoneKnows(m, state("d", pb.NodeState_NODE_STATE_LOST)); err != nil {
		t.Error(err)
	}
	if err := everyoneKnows(m, state("a", pb.NodeState_NODE_STATE_DRAINING)); err == nil {
		t.Error("a command is proposed that a node of the map does not know")
	}
}
