package master

import (
	"context"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/meta/planner"
)

// rounds lets a master do so many, with learners that catch up between them.
func rounds(w *world, m *Master, n int) {
	for range n {
		m.round(context.Background())
		for id, g := range w.groups {
			for _, x := range g.members {
				x.CaughtUp = x.CaughtUp || w.answers(id, x)
			}
		}
		w.clock.Advance(10 * time.Second)
	}
}

// TestAClusterOfOneNodeGrows: moving a shard's only replica goes through a moment with two voters, of which one may go.
func TestAClusterOfOneNodeGrows(t *testing.T) {
	w := newWorld(t, 4, "a")
	w.join("b")
	m := w.master()
	rounds(w, m, 40)
	if !w.still() {
		t.Errorf("with two nodes it does not come to rest: %s", w)
	}
	w.join("c")
	rounds(w, m, 200)
	if !w.still() {
		t.Errorf("with three nodes it does not come to rest: %s", w)
	}
	w.expectWhole()
}

// TestADeadVoterThatComesBackWhileItLeavesHoldsNothingUp: it was to go, the master died between the map's half of that and
// the group's, and when it is back another one dies. It is needed now until its replacement votes.
func TestADeadVoterThatComesBackWhileItLeavesHoldsNothingUp(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	shard := w.machine.Map().Shards[0]
	victim, other := shard.Replicas[1].NodeId, shard.Replicas[2].NodeId
	w.join("d", "e")
	w.apply(pause(true))
	w.kill(victim)
	m := w.master()
	for i := 0; len(w.groups[1].members) < 4 || !w.groups[1].members[3].CaughtUp; i++ {
		if i > 50 {
			t.Fatal("nobody replaces the dead one")
		}
		rounds(w, m, 1)
	}
	w.die = func(int) death { return dieAfter }
	rounds(w, m, 1)
	w.die = func(int) death { return live }
	if at := replicaIn(w.machine.Map().Shards[0], victim); at == nil || !at.Leaving {
		t.Fatalf("the dead one does not leave: %s", w)
	}
	delete(w.dead, api.NodeID(victim))
	w.kill(other)
	rounds(w, w.master(), 500)
	w.expectWhole(other)
}

func replicaIn(s *pb.Shard, node string) *pb.Replica {
	for _, r := range s.Replicas {
		if r.NodeId == node {
			return r
		}
	}
	return nil
}

// TestALateOrderForAnOldReplicaDoesNotBlockTheNewOne: the group has a learner of an incarnation that was given up, on the
// node that gets another.
func TestALateOrderForAnOldReplicaDoesNotBlockTheNewOne(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	w.join("d")
	w.apply(pause(true))
	m := w.master()
	add := func() uint64 {
		return w.apply(&peerv1.MetaCommand{Version: 2, Op: &peerv1.MetaCommand_AddReplica{AddReplica: &peerv1.MetaAddReplica{ShardId: 1, Epoch: 1, NodeId: "d", Replaces: "c"}}}).Incarnation
	}
	first := add()
	gone := &peerv1.MetaReplica{ShardId: 1, Epoch: 1, NodeId: "d", Incarnation: first}
	w.apply(&peerv1.MetaCommand{Version: 2, Op: &peerv1.MetaCommand_LeaveReplica{LeaveReplica: gone}})
	w.apply(&peerv1.MetaCommand{Version: 2, Op: &peerv1.MetaCommand_DropReplica{DropReplica: gone}})
	add()
	late := &peerv1.ChangeMembersRequest{GroupId: 1, Change: peerv1.MemberChange_MEMBER_CHANGE_ADD_LEARNER, NodeId: "d", Incarnation: first, PreviousIndex: 1}
	if err := (&reign{world: w, number: w.reign}).change(late); err != nil {
		t.Fatal(err)
	}
	rounds(w, m, 300)
	if !w.still() {
		t.Errorf("it does not come to rest: %s", w)
	}
}

// TestARemovalThatDoesNotComeOnIsStuckThoughClientsWrite: that the replica follows the log is no progress of its removal.
func TestARemovalThatDoesNotComeOnIsStuckThoughClientsWrite(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	w.join("d")
	w.apply(&peerv1.MetaCommand{Version: 2, Op: &peerv1.MetaCommand_LeaveReplica{LeaveReplica: &peerv1.MetaReplica{ShardId: 1, Epoch: 1, NodeId: "b", Incarnation: 1}}})
	m := w.master()
	for i := range uint64(200) {
		report := &peerv1.GroupMembers{LeaderId: "a", Index: 1, LastLogIndex: 100 + i, Members: []*peerv1.GroupMember{{NodeId: "b", Incarnation: 1, Voter: true, LastLogIndex: 100 + i}}}
		m.remember(&observation{current: w.machine.Map(), reports: map[uint64]*peerv1.GroupMembers{1: report}}, planner.Plan{})
		w.clock.Advance(10 * time.Second)
	}
	if g, _ := m.Gauges(); g.Stuck != 1 {
		t.Errorf("after half an hour %d are stuck", g.Stuck)
	}
}

// TestAVoterThatIsGoneFromALivingNodeIsMissed: the node is up, and what it held of the shard is not there.
func TestAVoterThatIsGoneFromALivingNodeIsMissed(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	seen := &observation{current: w.machine.Map(), reports: map[uint64]*peerv1.GroupMembers{1: {LeaderId: "a", Index: 1, LastLogIndex: 100, Members: []*peerv1.GroupMember{
		{NodeId: "a", Incarnation: 1, Voter: true, CaughtUp: true}, {NodeId: "b", Incarnation: 1, Voter: true, ContactMillis: -1}, {NodeId: "c", Incarnation: 1, Voter: true, CaughtUp: true},
	}}}}
	if r := planner.Report(w.master().view(seen, nil)); len(r.UnderReplicated) != 1 {
		t.Errorf("shards with too few replicas: %v", r.UnderReplicated)
	}
}
