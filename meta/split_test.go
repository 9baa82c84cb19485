package meta

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/testkit"
)

func prepareCommand(shard, epoch uint64, at uint32) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_PrepareSplit{PrepareSplit: &peerv1.MetaPrepareSplit{ShardId: shard, Epoch: epoch, AtSlot: at}}}
}

func finishCommand(shard, epoch, child uint64) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_FinishSplit{FinishSplit: &peerv1.MetaFinishSplit{ShardId: shard, Epoch: epoch, ChildId: child}}}
}

func TestASplitIsPublishedInOneStep(t *testing.T) {
	m := founded(t)
	expectTwice(t, m, prepareCommand(1, 1, 100), ok)
	noted := m.Map().Shards[0]
	if s := noted.Split; s.ChildId != 2 || s.AtSlot != 100 || s.Epoch != 1 || len(s.Replicas) != 3 || noted.EndSlot != api.SlotCount || noted.Epoch != 1 {
		t.Fatalf("the split that is noted is %v", noted)
	}
	expectTwice(t, m, finishCommand(1, 1, 2), ok)
	parent, child := m.Map().Shards[0], m.Map().Shards[1]
	if parent.Split != nil || parent.Epoch != 2 || parent.StartSlot != 0 || parent.EndSlot != 100 {
		t.Errorf("the parent is %v", parent)
	}
	if child.Id != 2 || child.StartSlot != 100 || child.EndSlot != api.SlotCount || child.Epoch != noted.Split.ChildEpoch || child.PreferredLeader == parent.PreferredLeader {
		t.Errorf("the child is %v", child)
	}
	if child.ParentId != 1 || child.ParentEpoch != 1 || child.LastIncarnation != parent.LastIncarnation {
		t.Errorf("the child does not say whose it is: %v", child)
	}
	same := func(a, b *pb.Replica) bool { return proto.Equal(a, b) }
	if !slices.EqualFunc(child.Founders, noted.Split.Replicas, same) || !slices.EqualFunc(child.Replicas, noted.Split.Replicas, same) {
		t.Errorf("the child begins with %v and has %v, want %v", child.Founders, child.Replicas, noted.Split.Replicas)
	}
	expectCode(t, apply(t, m, prepareCommand(1, 1, 50)), conflict) // for the epoch before
	expectCode(t, apply(t, m, prepareCommand(1, 2, 50)), ok)
	expectCode(t, apply(t, m, finishCommand(1, 2, 3)), ok)
	if id := m.Map().Shards[1].Id; id != 3 {
		t.Errorf("the second child has id %d, and the shards stand as %v", id, m.Map().Shards)
	}
}

func TestASplitIsRefusedWhereItDoesNotFit(t *testing.T) {
	m := founded(t)
	revision := m.Map().Revision
	invalid := peerv1.MetaCode_META_CODE_INVALID
	expectCode(t, apply(t, m, prepareCommand(1, 1, 0)), invalid)
	expectCode(t, apply(t, m, prepareCommand(1, 1, api.SlotCount)), invalid)
	expectCode(t, apply(t, m, prepareCommand(2, 1, 100)), unknown)
	expectCode(t, apply(t, m, prepareCommand(1, 2, 100)), conflict)
	expectCode(t, apply(t, m, finishCommand(1, 1, 2)), conflict)
	expectCode(t, apply(t, m, finishCommand(1, 1, 1)), conflict)
	if m.Map().Revision != revision {
		t.Error("refused commands changed the map")
	}
	expectCode(t, apply(t, m, addCommand(1, 1, "d", "a")), ok)
	expectCode(t, apply(t, m, prepareCommand(1, 1, 100)), conflict) // it has a learner
	expectCode(t, apply(t, m, settleCommand(named("d", 2))), ok)
	expectCode(t, apply(t, m, leaveCommand(named("a", 1))), ok)
	expectCode(t, apply(t, m, prepareCommand(1, 1, 100)), conflict) // one leaves
	expectCode(t, apply(t, m, dropCommand(named("a", 1))), ok)
	expectCode(t, apply(t, m, prepareCommand(1, 1, 100)), ok)
}

func TestTheReplicasOfAShardStayUntilItsSplitIsDone(t *testing.T) {
	m := founded(t)
	expectCode(t, apply(t, m, prepareCommand(1, 1, 100)), ok)
	expectCode(t, apply(t, m, prepareCommand(1, 1, 101)), conflict)
	expectCode(t, apply(t, m, addCommand(1, 1, "d", "")), conflict)
	expectCode(t, apply(t, m, leaveCommand(named("a", 1))), conflict)
	expectCode(t, apply(t, m, dropCommand(named("a", 1))), conflict)
	expectCode(t, apply(t, m, stateCommand("a", pb.NodeState_NODE_STATE_LOST)), ok)
	expectCode(t, apply(t, m, removeCommand("a")), conflict)
	expectCode(t, apply(t, m, finishCommand(1, 1, 2)), ok)
	expectCode(t, apply(t, m, addCommand(1, 2, "d", "a")), ok)
}

func TestAMapHoldsNoMoreShardsThanItMay(t *testing.T) {
	state := &peerv1.MetaState{Map: &pb.ClusterMap{ClusterId: "C"}, LastShardId: maxShards}
	for i := range uint32(maxShards) {
		state.Map.Shards = append(state.Map.Shards, &pb.Shard{Id: uint64(i) + 1, StartSlot: 16 * i, EndSlot: 16*i + 16, Epoch: 1})
	}
	expectCode(t, evaluate(state, prepareCommand(1, 1, 5)), peerv1.MetaCode_META_CODE_FULL)
	state.Map.Shards = state.Map.Shards[:maxShards-1]
	expectCode(t, evaluate(state, prepareCommand(1, 1, 5)), ok)
	expectCode(t, evaluate(state, prepareCommand(2, 1, 20)), peerv1.MetaCode_META_CODE_FULL) // what is being made counts
}

// TestEveryOrderOfSplitsKeepsTheMapSound mixes splits with all other changes and checks the invariants after each.
func TestEveryOrderOfSplitsKeepsTheMapSound(t *testing.T) {
	r := rand.New(rand.NewPCG(uint64(testkit.Seed(t)), 2))
	m := founded(t)
	used := map[uint64]map[string]uint64{} // the highest incarnation on a node, by shard
	expectCode(t, apply(t, m, prepareCommand(1, 1, api.SlotCount/2)), ok)
	expectCode(t, apply(t, m, finishCommand(1, 1, 2)), ok)
	for range 600 {
		shards := m.Map().Shards
		s := shards[r.IntN(len(shards))]
		epoch := s.Epoch + uint64(r.IntN(8)/7) // now and then another one
		id := string(rune('a' + r.IntN(6)))
		replica := &peerv1.MetaReplica{ShardId: s.Id, Epoch: epoch, NodeId: id, Incarnation: 1 + r.Uint64N(s.LastIncarnation+1)}
		at := s.StartSlot + uint32(r.IntN(int(s.EndSlot-s.StartSlot)+1))
		child := s.GetSplit().GetChildId() + uint64(r.IntN(8)/7)
		commands := []*peerv1.MetaCommand{
			addCommand(s.Id, epoch, id, ""), settleCommand(replica), leaveCommand(replica), dropCommand(replica),
			stateCommand(id, pb.NodeState(r.IntN(4))), removeCommand(id), registerCommand("C", node(id, "node-"+id)),
			prepareCommand(s.Id, epoch, at), prepareCommand(s.Id, epoch, at), finishCommand(s.Id, epoch, child), finishCommand(s.Id, epoch, child),
		}
		c := commands[r.IntN(len(commands))]
		before := m.Map()
		if apply(t, m, c); proto.Equal(before, m.Map()) != (before.Revision == m.Map().Revision) {
			t.Fatalf("%v: the revision says something else than the map (M2)", c)
		}
		checkSplits(t, before, m.Map())
		for _, s := range m.Map().Shards {
			if used[s.Id] == nil {
				used[s.Id] = map[string]uint64{}
			}
			one := &pb.ClusterMap{Nodes: m.Map().Nodes, RemovedNodeIds: m.Map().RemovedNodeIds, Shards: []*pb.Shard{s}}
			checkSound(t, one, used[s.Id])
		}
	}
}

// checkSplits fails unless the arcs tile (M5), shard ids are new (M7), and splits that are noted stay as they are
// until they are published (M12).
func checkSplits(t *testing.T, before, after *pb.ClusterMap) {
	t.Helper()
	next, ids := uint32(0), map[uint64]bool{}
	for _, s := range after.Shards {
		if s.StartSlot != next || s.EndSlot <= s.StartSlot || ids[s.Id] {
			t.Fatalf("the arcs do not tile, or an id is there twice (M5, M7): %v", after.Shards)
		}
		next, ids[s.Id] = s.EndSlot, true
		if split := s.Split; split != nil {
			if ids[split.ChildId] || split.Epoch != s.Epoch || split.AtSlot <= s.StartSlot || split.AtSlot >= s.EndSlot || names(split.Replicas) != names(s.Replicas) {
				t.Fatalf("the split does not fit its shard (M12): %v", s)
			}
			ids[split.ChildId] = true
		}
	}
	if next != api.SlotCount {
		t.Fatalf("the arcs end at %d (M5)", next)
	}
	highest := uint64(0)
	for _, s := range before.Shards {
		highest = max(highest, s.Id, s.GetSplit().GetChildId())
		at := slices.IndexFunc(after.Shards, func(x *pb.Shard) bool { return x.Id == s.Id })
		if at < 0 {
			t.Fatalf("shard %d is gone", s.Id)
		}
		now := after.Shards[at]
		published := slices.ContainsFunc(after.Shards, func(x *pb.Shard) bool { return x.Id == s.GetSplit().GetChildId() })
		if s.Split != nil && !proto.Equal(s.Split, now.Split) && (!published || now.Split != nil) {
			t.Fatalf("a split that was noted became %v: %v (M12)", now, s)
		}
		if arcChanged := s.EndSlot != now.EndSlot; arcChanged != (now.Epoch != s.Epoch) {
			t.Fatalf("the epoch says something else than the arc: %v became %v", s, now)
		}
	}
	for _, s := range after.Shards {
		known := slices.ContainsFunc(before.Shards, func(x *pb.Shard) bool { return x.Id == s.Id || x.GetSplit().GetChildId() == s.Id })
		if !known {
			t.Fatalf("shard %d was not noted before (M12)", s.Id)
		}
		was := slices.ContainsFunc(before.Shards, func(x *pb.Shard) bool { return x.GetSplit() != nil && x.Split.ChildId == s.GetSplit().GetChildId() })
		if s.Split != nil && !was && s.Split.ChildId <= highest {
			t.Fatalf("shard id %d is given out after %d (M7)", s.Split.ChildId, highest)
		}
	}
}

func names(replicas []*pb.Replica) string {
	var list []string
	for _, r := range replicas {
		list = append(list, fmt.Sprintf("%s#%d", r.NodeId, r.Incarnation))
	}
	return fmt.Sprint(list)
}
