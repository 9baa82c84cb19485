package master

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/testkit"
)

// expectWhole fails unless every shard has three voters on nodes that may hold them, and the map says what the
// groups say.
func (w *world) expectWhole(forbidden ...string) {
	w.t.Helper()
	for _, s := range w.machine.Map().Shards {
		g := w.groups[s.Id]
		if g.voters() != 3 || len(g.members) != 3 || len(s.Replicas) != 3 {
			w.t.Errorf("shard %d is not whole: %s", s.Id, w)
		}
		for _, r := range s.Replicas {
			in := slices.ContainsFunc(g.members, func(m *pbMember) bool { return m.NodeId == r.NodeId && m.Incarnation == r.Incarnation })
			if !in || slices.Contains(forbidden, r.NodeId) {
				w.t.Errorf("shard %d: %v should not be in the map: %s", s.Id, r, w)
			}
		}
	}
}

// grow adds two nodes to three.
func grow(w *world, rng *rand.Rand) {
	w.join("d", "e")
	w.settle(rng)
	w.expectWhole()
}

// shrink takes one of five away.
func shrink(w *world, rng *rand.Rand) {
	grow(w, rng)
	w.setState("b", pb.NodeState_NODE_STATE_DECOMMISSIONING)
	w.settle(rng)
	w.expectWhole("b")
	if !slices.Contains(w.machine.Map().RemovedNodeIds, "b") {
		w.t.Errorf("the node that was decommissioned is still in the map: %v", w.machine.Map().Nodes)
	}
}

// heal replaces a dead node.
func heal(w *world, rng *rand.Rand) {
	w.join("d")
	w.kill("a")
	w.settle(rng)
	w.expectWhole("a")
}

var stories = []struct {
	name string
	run  func(*world, *rand.Rand)
}{{"grow", grow}, {"shrink", shrink}, {"heal", heal}}

// TestAnotherMasterGoesOnAfterAnyStep is invariant MA1: the master dies once, before or after any effect, or just
// before its order arrives.
func TestAnotherMasterGoesOnAfterAnyStep(t *testing.T) {
	seed := testkit.Seed(t)
	for _, story := range stories {
		calm := newWorld(t, 3, "a", "b", "c")
		story.run(calm, testkit.NewRand(seed))
		if calm.effects < 4 {
			t.Fatalf("%s took %d effects", story.name, calm.effects)
		}
		for at := 1; at <= calm.effects; at++ {
			for _, how := range []death{dieBefore, dieAfter, dieLate} {
				t.Run(fmt.Sprintf("%s/%d/%d", story.name, at, how), func(t *testing.T) {
					w := newWorld(t, 3, "a", "b", "c")
					w.die = func(effect int) death {
						if effect == at {
							return how
						}
						return live
					}
					story.run(w, testkit.NewRand(seed))
				})
			}
		}
	}
}

// TestManyMastersComeToTheSameEnd has masters die again and again, in all ways.
func TestManyMastersComeToTheSameEnd(t *testing.T) {
	seed := testkit.Seed(t)
	for i := range int64(20) {
		for _, story := range stories {
			rng := testkit.NewRand(seed + i)
			deaths := testkit.NewRand(seed + i + 1<<32)
			w := newWorld(t, 4, "a", "b", "c")
			left := 25
			w.die = func(int) death {
				if left == 0 || deaths.IntN(3) > 0 {
					return live
				}
				left--
				return death(1 + deaths.IntN(3))
			}
			story.run(w, rng)
			if t.Failed() {
				t.Fatalf("%s, seed %d", story.name, seed+i)
			}
		}
	}
}

func TestASilentNodeKeepsItsReplicasUntilTheLimit(t *testing.T) {
	w := newWorld(t, 3, "a", "b", "c")
	w.join("d")
	rng := testkit.NewRand(testkit.Seed(t))
	w.settle(rng)
	m := w.master()
	w.kill("a")
	before := w.effects
	m.round(context.Background())
	for range 5 {
		w.clock.Advance(10 * time.Second)
		m.round(context.Background())
	}
	for _, s := range w.machine.Map().Shards {
		if slices.ContainsFunc(s.Replicas, func(r *pb.Replica) bool { return r.Learner || r.Leaving }) {
			t.Errorf("after 50 s of 60 s, shard %d is changed: %v", s.Id, s.Replicas)
		}
	}
	t.Logf("%d effects", w.effects-before)
	w.clock.Advance(20 * time.Second)
	if !m.round(context.Background()) {
		t.Error("nothing is done after the limit")
	}
}

func TestANodeThatALeaderHearsIsNotSilent(t *testing.T) {
	w := newWorld(t, 3, "a", "b", "c")
	m := w.master()
	m.o.Alive = func(api.NodeID) bool { return false } // gossip is cut off
	for range 3 {
		m.round(context.Background())
		w.clock.Advance(10 * time.Minute)
	}
	s, err := m.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Nodes {
		if !n.Alive {
			t.Errorf("%s is taken for dead, which its leaders hear", n.Name)
		}
	}
}

func TestOnlyTheMasterTellsAndActs(t *testing.T) {
	w := newWorld(t, 3, "a", "b", "c")
	old := w.master()
	old.round(context.Background())
	if _, err := old.Status(); err != nil {
		t.Fatal(err)
	}
	w.master() // another one reigns
	w.join("d", "e")
	if old.round(context.Background()) || w.effects > 0 {
		t.Error("a master that was replaced acts")
	}
	if _, err := old.Status(); api.CodeOf(err) != api.CodeNotLeader {
		t.Errorf("a master that was replaced tells: %v", err)
	}
	if _, ok := old.Gauges(); ok {
		t.Error("a master that was replaced has figures")
	}
}

func TestAMoveByHandIsCarriedOut(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	w.join("d")
	w.apply(pause(true))
	m := w.master()
	if _, err := m.moveReplica(context.Background(), &pb.MoveReplicaRequest{ShardId: 1, From: "a", To: "d"}); err != nil {
		t.Fatal(err)
	}
	w.settle(testkit.NewRand(testkit.Seed(t)))
	w.expectWhole("a")
	if _, err := w.master().moveReplica(context.Background(), &pb.MoveReplicaRequest{ShardId: 1, From: "a", To: "d"}); api.CodeOf(err) != api.CodeInvalid {
		t.Errorf("a move between nodes that do not fit: %v", err)
	}
}

// TestTheMasterExplainsAShardByNames, also while a replica of it moves, and knows no others.
func TestTheMasterExplainsAShardByNames(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c")
	w.join("dddd")
	m := w.master()
	if _, err := m.explainShard(context.Background(), &pb.ExplainShardRequest{ShardId: 1}); api.CodeOf(err) != api.CodeNotLeader {
		t.Errorf("before it has looked: %v", err)
	}
	for range 2 {
		m.round(context.Background())
	}
	if _, err := m.explainShard(context.Background(), &pb.ExplainShardRequest{ShardId: 9}); api.CodeOf(err) != api.CodeInvalid {
		t.Errorf("a shard that does not exist: %v", err)
	}
	moving := ""
	for _, s := range w.machine.Map().Shards {
		e, err := m.explainShard(context.Background(), &pb.ExplainShardRequest{ShardId: s.Id})
		if err != nil || len(e.Places) != 4 || e.LeaderId == "" || e.LeaderWhy == "" || e.EndSlot != s.EndSlot {
			t.Fatalf("shard %d: %v, %v", s.Id, e, err)
		}
		for _, p := range e.Places {
			if p.Name != p.NodeId || p.Why == "" {
				t.Errorf("shard %d: a place without name or reason: %v", s.Id, p)
			}
			if p.Name == "dddd" && p.Holds {
				moving = p.Why
			}
		}
	}
	if !strings.Contains(moving, "takes the place of") {
		t.Errorf("the replica that is being made is explained by %q", moving)
	}
}
