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
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/raft"
)

// newHolders is a world in which the map has replicas on the first three nodes, or on one if there is only one.
func newHolders(t *testing.T, nodes ...string) *world {
	w := newWorld(t, 1, nodes...)
	g := &group{index: 1, leader: nodes[0], used: map[string]uint64{}}
	for _, id := range nodes[:min(len(nodes), 3)] {
		g.members = append(g.members, &peerv1.GroupMember{NodeId: id, Incarnation: 1, Voter: true, CaughtUp: true})
		g.used[id] = 1
	}
	w.groups[uint64(raft.MetaGroup)] = g
	w.showHolders(g)
	for _, id := range nodes {
		w.joinNew(id)
	}
	return w
}

// joinNew registers nodes that know how the replicas of the map move.
func (w *world) joinNew(nodes ...string) {
	for _, id := range nodes {
		w.apply(&peerv1.MetaCommand{Version: 1, Op: &peerv1.MetaCommand_RegisterNode{RegisterNode: &peerv1.MetaRegisterNode{
			ClusterId: "C", Node: &pb.Node{Id: id, Name: id, CommandVersion: 3, Zone: w.zones[id]},
		}}})
	}
}

// showHolders puts a membership of the map's group into its log, as Raft does.
func (w *world) showHolders(g *group) {
	var c raft.Configuration
	for _, m := range g.members {
		c.Servers = append(c.Servers, raft.Server{Replica: raft.ReplicaID{Node: api.NodeID(m.NodeId), Incarnation: m.Incarnation}, Voter: m.Voter})
	}
	w.index++
	c.Index = api.Index(w.index)
	if _, err := w.machine.Apply([]raft.Entry{{Index: api.Index(w.index), Term: 1, Configuration: &c}}); err != nil {
		w.t.Fatal(err)
	}
}

// retire decommissions a node, whatever it holds.
func (w *world) retire(id string) {
	w.apply(&peerv1.MetaCommand{Version: 3, Op: &peerv1.MetaCommand_SetNodeState{SetNodeState: &peerv1.MetaSetNodeState{
		NodeId: id, State: pb.NodeState_NODE_STATE_DECOMMISSIONING, MapMoves: true,
	}}})
}

// expectHolders fails unless the map has count voters and nobody else, none of them on the forbidden nodes, and shows them.
func (w *world) expectHolders(count int, forbidden ...string) {
	w.t.Helper()
	g := w.groups[uint64(raft.MetaGroup)]
	shown := w.machine.Map().MetaReplicas
	if g.voters() != count || len(g.members) != count || len(shown) != count {
		w.t.Errorf("the map has not %d voters: %v, it shows %v", count, g.members, shown)
	}
	for _, m := range g.members {
		if slices.Contains(forbidden, m.NodeId) {
			w.t.Errorf("%s still holds the map: %v", m.NodeId, g.members)
		}
	}
}

func holdersGrow(w *world, rng *rand.Rand) {
	w.joinNew("d", "e")
	w.settle(rng)
	w.expectHolders(5)
}

// holdersChange goes from three to five and takes the three away with which it began.
func holdersChange(w *world, rng *rand.Rand) {
	holdersGrow(w, rng)
	w.joinNew("f")
	for i, id := range []string{"a", "b", "c"} {
		w.retire(id)
		w.settle(rng)
		w.expectHolders([]int{5, 3, 3}[i], []string{"a", "b", "c"}[:i+1]...)
		if !slices.Contains(w.machine.Map().RemovedNodeIds, id) {
			w.t.Errorf("%s is still in the map: %v", id, w.machine.Map().Nodes)
		}
	}
}

func holdersHeal(w *world, rng *rand.Rand) {
	w.joinNew("d")
	w.settle(rng)
	w.expectHolders(3)
	w.kill("a")
	w.settle(rng)
	w.expectHolders(3, "a")
}

var holderStories = []struct {
	name string
	run  func(*world, *rand.Rand)
}{{"change", holdersChange}, {"heal", holdersHeal}}

// TestAnotherMasterMovesTheMapOnAfterAnyStep is invariant MA1 for the replicas of the map.
func TestAnotherMasterMovesTheMapOnAfterAnyStep(t *testing.T) {
	seed := testkit.Seed(t)
	for _, story := range holderStories {
		calm := newHolders(t, "a", "b", "c")
		story.run(calm, testkit.NewRand(seed))
		t.Logf("%s: %d effects", story.name, calm.effects)
		for at := 1; at <= calm.effects && !t.Failed(); at++ {
			for _, how := range []death{dieBefore, dieAfter, dieLate} {
				t.Run(fmt.Sprintf("%s/%d/%d", story.name, at, how), func(t *testing.T) {
					w := newHolders(t, "a", "b", "c")
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

func TestManyMastersMoveTheMapToTheSameEnd(t *testing.T) {
	seed := testkit.Seed(t)
	for i := range int64(8) {
		for _, story := range holderStories {
			deaths := testkit.NewRand(seed + i + 1<<32)
			w := newHolders(t, "a", "b", "c")
			left := 25
			w.die = func(int) death {
				if left == 0 || deaths.IntN(3) > 0 {
					return live
				}
				left--
				return death(1 + deaths.IntN(3))
			}
			story.run(w, testkit.NewRand(seed+i))
			if t.Failed() {
				t.Fatalf("%s, seed %d", story.name, seed+i)
			}
		}
	}
}

// TestALoneHolderOfTheMapCanLeave: where there is one voter, another one takes its place and then it goes.
func TestALoneHolderOfTheMapCanLeave(t *testing.T) {
	for _, others := range [][]string{{"b"}, {"b", "c"}, {"b", "c", "d"}} {
		w := newHolders(t, "a")
		w.joinNew(others...)
		w.retire("a")
		w.settle(testkit.NewRand(testkit.Seed(t)))
		want := 1
		if len(others) > 2 {
			want = 3
		}
		w.expectHolders(want, "a")
	}
}

func TestAClusterThatGrewFromOneNodeHasThreeHoldersOfTheMap(t *testing.T) {
	w := newHolders(t, "a")
	w.joinNew("b")
	w.settle(testkit.NewRand(testkit.Seed(t)))
	w.expectHolders(1)
	w.joinNew("c")
	w.settle(testkit.NewRand(testkit.Seed(t)))
	w.expectHolders(3)
}

// TestANodeThatIsDownChangesNotHowManyHoldTheMap is invariant MA7.
func TestANodeThatIsDownChangesNotHowManyHoldTheMap(t *testing.T) {
	rng := testkit.NewRand(testkit.Seed(t))
	w := newHolders(t, "a", "b", "c")
	w.joinNew("d")
	w.kill("d")
	w.joinNew("e")
	w.settle(rng)
	w.expectHolders(3)
	delete(w.dead, "d")
	w.settle(rng)
	w.expectHolders(5)
	w.kill("e")
	w.settle(rng)
	w.expectHolders(5)
}

// TestTheMapIsApartInZonesWhenThereAreEnough: a third zone that comes takes one of two holders in the first.
func TestTheMapIsApartInZonesWhenThereAreEnough(t *testing.T) {
	w := newHolders(t, "a", "b", "c")
	w.zones = map[string]string{"a": "one", "b": "one", "c": "two", "d": "three"}
	w.joinNew("a", "b", "c", "d")
	w.settle(testkit.NewRand(testkit.Seed(t)))
	w.expectHolders(3)
	zones := map[string]bool{}
	for _, m := range w.groups[uint64(raft.MetaGroup)].members {
		zones[w.zones[m.NodeId]] = true
	}
	if len(zones) != 3 {
		t.Errorf("the map is in the zones %v: %v", zones, w.machine.Map().MetaReplicas)
	}
}

// TestTheStatusShowsHowTheMapMoves: a replica that learns is there, with how much it has.
func TestTheStatusShowsHowTheMapMoves(t *testing.T) {
	w := newHolders(t, "a", "b", "c")
	w.joinNew("d", "e")
	m := w.master()
	m.round(t.Context())
	m.round(t.Context())
	s, err := m.Status()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(s.Moving, func(x *pb.Moving) bool { return x.ShardId == uint64(raft.MetaGroup) && x.Phase == "catching up" }) {
		t.Errorf("what moves is %v", s.Moving)
	}
	if !slices.ContainsFunc(s.Blocked, func(text string) bool { return strings.HasPrefix(text, "the new replica of the cluster map on ") }) {
		t.Errorf("what waits is %q", s.Blocked)
	}
}

// TestAReplicaOfTheMapThatIsGoneFromALivingNodeComesBack as a new one: elsewhere, or on the same node if no other fits.
func TestAReplicaOfTheMapThatIsGoneFromALivingNodeComesBack(t *testing.T) {
	rng := testkit.Rand(t)
	for _, others := range [][]string{nil, {"d"}, {"d", "e"}} {
		w := newHolders(t, "a", "b", "c")
		w.joinNew(others...)
		w.settle(rng)
		w.wipe(uint64(raft.MetaGroup), "b")
		w.settle(rng)
		w.expectHolders([]int{3, 3, 5}[len(others)])
		w.expectAnswers()
	}
}

// TestALearnerOfTheMapThatLearnsNothingIsGivenUp (MA6): another node gets one, and there is never more than one.
func TestALearnerOfTheMapThatLearnsNothingIsGivenUp(t *testing.T) {
	id := uint64(raft.MetaGroup)
	w := newHolders(t, "a", "b", "c")
	w.joinNew("d", "e")
	w.kill("a")
	m := w.master()
	first := ""
	for range 200 {
		m.round(t.Context())
		for _, x := range w.groups[id].members {
			if !x.Voter && (first == "" || first == x.NodeId) {
				first = x.NodeId
				w.wiped[replicaKey{id, first, x.Incarnation}] = true // it cannot be opened
			} else if w.answers(id, x) {
				x.CaughtUp = true
			}
		}
		w.clock.Advance(10 * time.Second)
	}
	w.expectHolders(3, "a", first)
}

// TestTheStatusSaysWhyTheMapDoesNotMove: a node of an older build is in the cluster, or a voter does not answer.
func TestTheStatusSaysWhyTheMapDoesNotMove(t *testing.T) {
	w := newHolders(t, "a", "b", "c")
	w.joinNew("d", "e")
	m := w.master()
	all := m.o.Map
	m.o.Map = reserving{all.(*reign)}
	m.round(t.Context())
	m.o.Map = all
	blocked := func() []string {
		t.Helper()
		s, err := m.Status()
		if err != nil {
			t.Fatal(err)
		}
		return s.Blocked
	}
	says := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			if list := blocked(); !slices.Contains(list, text) {
				t.Errorf("%q is not in %q", text, list)
			}
		}
	}
	says("the cluster map: add learner: " + errOlder.Error())
	w.kill("b")
	m.round(t.Context())
	says("the cluster map: 2 of its 3 voters answer")
	if s, err := m.Status(); err != nil || s.ClusterVersion != 1 || s.Nodes[0].NewestClusterVersion != 1 {
		t.Errorf("the versions are not in %v, %v", s, err)
	}
	group := w.groups[uint64(raft.MetaGroup)]
	delete(w.groups, uint64(raft.MetaGroup))
	m.round(t.Context())
	says("the cluster map: its leader has not said who its members are")
	w.groups[uint64(raft.MetaGroup)] = group
}

var errOlder = api.Errorf(api.CodeUnavailable, "node d runs a version that does not know it")

// reserving is a map that reserves no incarnations.
type reserving struct{ *reign }

// Change implements Map.
func (r reserving) Change(ctx context.Context, c *peerv1.MetaCommand) (*peerv1.MetaResult, error) {
	if c.GetReserveMapReplica() != nil {
		return nil, errOlder
	}
	return r.reign.Change(ctx, c)
}
