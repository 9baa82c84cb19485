package master

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/testkit"
)

// wipe takes what a node holds of a shard away.
func (w *world) wipe(id uint64, node string) {
	g := w.groups[id]
	for _, m := range g.members {
		if m.NodeId == node {
			w.wiped[replicaKey{id, node, m.Incarnation}] = true
			m.CaughtUp = false
		}
	}
	if g.leader == node {
		g.leader = g.members[slices.IndexFunc(g.members, func(m *pbMember) bool { return m.Voter && w.answers(id, m) })].NodeId
	}
}

// expectAnswers fails unless every member of every group takes part.
func (w *world) expectAnswers() {
	w.t.Helper()
	for id, g := range w.groups {
		for _, m := range g.members {
			if !w.answers(id, m) {
				w.t.Errorf("shard %d still has a replica that is gone: %s", id, w)
			}
		}
	}
}

// TestAReplicaThatIsGoneFromALivingNodeComesBack as a new one: elsewhere, or on the same node if no other fits.
func TestAReplicaThatIsGoneFromALivingNodeComesBack(t *testing.T) {
	rng := testkit.Rand(t)
	for _, nodes := range [][]string{nil, {"d"}} {
		w := newWorld(t, 3, "a", "b", "c")
		w.join(nodes...)
		w.settle(rng)
		w.wipe(2, "b")
		was := replicaIn(w.machine.Map().Shards[1], "b").GetIncarnation()
		w.settle(rng)
		w.expectWhole()
		w.expectAnswers()
		if now := replicaIn(w.machine.Map().Shards[1], "b"); len(nodes) == 0 && now.GetIncarnation() <= was {
			t.Errorf("the only node for it has %v: %s", now, w)
		}
	}
}

// TestASilenceThatDoesNotLastReplacesNothing: a new leader has heard nobody yet, and a replica may be opened late.
func TestASilenceThatDoesNotLastReplacesNothing(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	w.join("d")
	w.settle(testkit.Rand(t))
	before := w.effects
	m := w.master()
	key := replicaKey{1, "b", replicaIn(w.machine.Map().Shards[0], "b").GetIncarnation()}
	for range 4 {
		w.wiped[key] = true
		for range 5 {
			m.round(context.Background())
			w.clock.Advance(10 * time.Second)
		}
		delete(w.wiped, key)
		m.round(context.Background())
		w.clock.Advance(10 * time.Second)
	}
	if w.effects != before {
		t.Errorf("%d steps are taken: %s", w.effects-before, w)
	}
}

// TestALearnerThatNeverLearnsIsGivenUpAndItsNodeRests, so that another node gets the replica.
func TestALearnerThatNeverLearnsIsGivenUpAndItsNodeRests(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	w.join("d", "e")
	w.apply(pause(true))
	w.kill("c")
	m := w.master()
	first := ""
	for i := 0; first == ""; i++ {
		if i > 50 {
			t.Fatalf("nobody replaces the dead one: %s", w)
		}
		m.round(context.Background())
		w.clock.Advance(10 * time.Second)
		for _, r := range w.machine.Map().Shards[0].Replicas {
			if r.Learner {
				first = r.NodeId
			}
		}
	}
	for range 300 { // fifty minutes
		m.round(context.Background())
		for id, g := range w.groups {
			for _, x := range g.members {
				x.CaughtUp = x.CaughtUp || w.answers(id, x) && x.NodeId != first
			}
		}
		w.clock.Advance(10 * time.Second)
	}
	w.expectWhole("c", first)
}

// TestANodeWithoutRoomGetsNothingNew.
func TestANodeWithoutRoomGetsNothingNew(t *testing.T) {
	w := newWorld(t, 4, "a", "b", "c")
	w.filled["d"] = 99 << 30
	w.join("d", "e")
	w.settle(testkit.Rand(t))
	w.expectWhole("d")
	w.filled["d"] = 0
	w.settle(testkit.Rand(t))
	if !slices.ContainsFunc(w.machine.Map().Shards, func(s *pb.Shard) bool { return replicaIn(s, "d") != nil }) {
		t.Errorf("with room it gets nothing either: %s", w)
	}
}

// TestAQuietClusterIsLookedAtSeldom, and at once when the map or what gossip says has changed.
func TestAQuietClusterIsLookedAtSeldom(t *testing.T) {
	w := newWorld(t, 3, "a", "b", "c")
	w.settle(testkit.Rand(t))
	m := w.master()
	turn := func() {
		if m.due() {
			m.round(context.Background())
		}
		w.clock.Advance(time.Second)
	}
	turn()
	before := w.looks
	for range 30 {
		turn()
	}
	if looks := w.looks - before; looks != 9 {
		t.Errorf("in 30 s the leaders of 3 shards were asked %d times", looks)
	}
	for what, change := range map[string]func(){"a node joins": func() { w.join("d") }, "a node dies": func() { w.kill("b") }} {
		for range 40 {
			turn()
		}
		w.clock.Advance(-time.Second)
		m.round(context.Background())
		m.looked.restless = false
		before = w.looks
		change()
		turn()
		if w.looks == before {
			t.Errorf("%s: nobody looks", what)
		}
	}
}

// TestANodeThatALeaderHearsIsNotDeclaredLost (MA5), though gossip does not hear it.
func TestANodeThatALeaderHearsIsNotDeclaredLost(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	w.apply(pause(true))
	w.join("d")
	m := w.master()
	m.o.Alive = func(api.NodeID) bool { return false } // gossip is cut off
	lose := func() error {
		_, err := m.setNodeState(context.Background(), &pb.SetNodeStateRequest{Node: "b", State: pb.NodeState_NODE_STATE_LOST})
		return err
	}
	m.round(context.Background())
	if err := lose(); err == nil || !strings.Contains(err.Error(), "is alive") {
		t.Errorf("a node that a leader hears: %v", err)
	}
}

// TestARefusedStepIsShown until it succeeds.
func TestARefusedStepIsShown(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	w.join("d")
	m := w.master()
	m.o.Groups = refusing{m.o.Groups}
	blocked := func() string {
		m.round(context.Background())
		s, err := m.Status()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(s.Blocked, "\n")
	}
	w.apply(pause(true))
	if _, err := m.moveReplica(context.Background(), &pb.MoveReplicaRequest{ShardId: 1, From: "a", To: "d"}); err != nil {
		t.Fatal(err)
	}
	if got := blocked(); !strings.Contains(got, "the disk is on fire") {
		t.Errorf("blocked: %q", got)
	}
	m.o.Groups = m.o.Groups.(refusing).Groups
	if got := blocked(); strings.Contains(got, "the disk is on fire") {
		t.Errorf("blocked after it succeeded: %q", got)
	}
}

// refusing refuses every change.
type refusing struct{ Groups }

// Change implements Groups.
func (refusing) Change(context.Context, *pb.Shard, *peerv1.ChangeMembersRequest) error {
	return api.Errorf(api.CodeUnavailable, "the disk is on fire")
}
