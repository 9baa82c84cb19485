package master

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
)

// Split implements Groups, as the shards do it.
func (r *orders) Split(_ context.Context, s *pb.Shard) error {
	return r.effect(func() error {
		g := r.groups[s.Id]
		split := s.Split
		if done := g.applied[split.ChildId]; done != nil {
			if !proto.Equal(done, split) {
				r.t.Errorf("shard %d is asked to split as %v after it did as %v (M12)", s.Id, split, done)
			}
			return nil
		}
		if !r.majorityAnswers(s.Id, g.members) {
			return api.Errorf(api.CodeUnavailable, "no majority answers")
		}
		if r.groups[split.ChildId] != nil {
			r.t.Errorf("shard %d is made twice (M7)", split.ChildId)
		}
		child := &group{index: 10, used: map[string]uint64{}}
		for _, replica := range split.Replicas {
			at := slices.IndexFunc(g.members, func(m *peerv1.GroupMember) bool {
				return m.NodeId == replica.NodeId && m.Incarnation == replica.Incarnation && m.Voter
			})
			if at < 0 {
				r.t.Errorf("shard %d: the child is to be on %v, where no voter is: %v", s.Id, replica, g.members)
				return nil
			}
			child.members = append(child.members, proto.CloneOf(g.members[at]))
			child.used[replica.NodeId] = replica.Incarnation
		}
		child.leader = g.leader
		r.groups[split.ChildId] = child
		if g.applied == nil {
			g.applied = map[uint64]*pb.Split{}
		}
		g.applied[split.ChildId] = proto.CloneOf(split)
		return nil
	})
}

// order gives the order to split a shard, again and again until the map has it, each time to another master if the last
// one died.
func (w *world) order(shard uint64, at uint32) {
	w.t.Helper()
	for range 100 {
		if _, err := w.master().splitShard(context.Background(), &pb.SplitShardRequest{ShardId: shard, AtSlot: at}); err == nil {
			return
		}
	}
	w.t.Fatalf("shard %d is not split: %s", shard, w)
}

// expectTiled fails unless the shards of the map tile the slots and each is a group.
func (w *world) expectTiled(shards int) {
	w.t.Helper()
	next := uint32(0)
	for _, s := range w.machine.Map().Shards {
		if s.StartSlot != next || w.groups[s.Id] == nil || s.Split != nil {
			w.t.Errorf("shard %d is not whole: %v: %s", s.Id, s, w)
		}
		next = s.EndSlot
	}
	if next != api.SlotCount || len(w.machine.Map().Shards) != shards || len(w.groups) != shards {
		w.t.Errorf("%d shards up to slot %d and %d groups, want %d: %s", len(w.machine.Map().Shards), next, len(w.groups), shards, w)
	}
}

// divide splits a shard, and then moves replicas away from both halves.
func divide(w *world, rng *rand.Rand) {
	count := len(w.machine.Map().Shards)
	first := w.machine.Map().Shards[0]
	w.order(first.Id, first.StartSlot+1000)
	w.settle(rng)
	w.expectTiled(count + 1)
	w.expectWhole()
	grow(w, rng)
	w.expectTiled(count + 1)
}

// divideMoving splits a shard whose replicas are being moved.
func divideMoving(w *world, rng *rand.Rand) {
	count := len(w.machine.Map().Shards)
	w.join("d", "e")
	m := w.master()
	for range 1 + rng.IntN(4) {
		m.round(context.Background())
	}
	w.catchUp(rng)
	for tries := 0; len(w.machine.Map().Shards) == count; tries++ {
		if tries > 200 {
			w.t.Fatalf("never split: %s", w)
		}
		s := w.machine.Map().Shards[rng.IntN(count)]
		_, err := w.master().splitShard(context.Background(), &pb.SplitShardRequest{ShardId: s.Id, AtSlot: (s.StartSlot + s.EndSlot) / 2})
		w.settle(rng)
		if err == nil {
			break
		}
	}
	w.settle(rng)
	w.expectWhole()
	next := uint32(0)
	for _, s := range w.machine.Map().Shards {
		if s.StartSlot != next {
			w.t.Errorf("the arcs do not tile: %s", w)
		}
		next = s.EndSlot
	}
}

func init() {
	stories = append(stories, struct {
		name string
		run  func(*world, *rand.Rand)
	}{"divide", divide}, struct {
		name string
		run  func(*world, *rand.Rand)
	}{"divide moving", divideMoving})
}

func TestAnOrderToSplitSaysWhatIsWrongWithIt(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c")
	m := w.master()
	ask := func(shard uint64, at uint32) (*pb.SplitShardResponse, error) {
		return m.splitShard(context.Background(), &pb.SplitShardRequest{ShardId: shard, AtSlot: at})
	}
	for _, c := range []struct {
		shard uint64
		at    uint32
	}{{9, 1}, {1, 0}, {1, api.SlotCount / 2}, {1, api.SlotCount - 1}, {2, 1}, {2, api.SlotCount / 2}} {
		if _, err := ask(c.shard, c.at); api.CodeOf(err) != api.CodeInvalid {
			t.Errorf("shard %d at %d: %v", c.shard, c.at, err)
		}
	}
	first, err := ask(1, api.SlotCount/4)
	if err != nil || first.AtSlot != api.SlotCount/4 || first.ChildId != 3 {
		t.Fatalf("%v, %v", first, err)
	}
	if again, err := ask(1, api.SlotCount/4); err != nil || again.ChildId != first.ChildId {
		t.Errorf("the order that comes again: %v, %v", again, err)
	}
	if _, err := ask(1, 7); api.CodeOf(err) != api.CodeUnavailable {
		t.Errorf("another split of the same shard: %v", err)
	}
	m.round(context.Background())
	w.expectTiled(3)
	if again, err := ask(1, api.SlotCount/4); err != nil || again.ChildId != first.ChildId || len(w.machine.Map().Shards) != 3 {
		t.Errorf("the order that comes again when it is done: %v, %v", again, err)
	}
	w.groups[2].members[1].Voter = false
	if _, err := ask(2, 3*api.SlotCount/4); api.CodeOf(err) != api.CodeUnavailable {
		t.Errorf("a split of a shard whose members are changed: %v", err)
	}
}

func TestASplitThatIsUnderWayIsShownUntilItIsDone(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	w.order(1, api.SlotCount/2)
	w.dead["b"], w.dead["c"] = true, true
	m := w.master()
	for range 2 {
		m.round(context.Background())
	}
	s, err := m.Status()
	if err != nil || len(s.Splitting) != 1 || s.Splitting[0].ShardId != 1 || s.Splitting[0].ChildId != 2 || len(s.Blocked) == 0 {
		t.Fatalf("the status is %v, %v", s, err)
	}
	w.clock.Advance(2 * stuckAfter)
	m.round(context.Background())
	if g, _ := m.Gauges(); g.Stuck != 1 {
		t.Errorf("a split that does not move is not counted as stuck: %+v", g)
	}
	clear(w.dead)
	m.round(context.Background())
	m.round(context.Background())
	if s, err = m.Status(); err != nil || len(s.Splitting) != 0 {
		t.Errorf("the status after it is %v, %v", s, err)
	}
	w.expectTiled(2)
}

func TestAShardThatIsTooLargeIsSplitOnceAtATime(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	m := w.master()
	m.o.SplitBytes = 1000
	w.sizes = map[uint64]uint64{1: 5000, 2: 5000}
	for range 20 {
		m.round(context.Background())
	}
	w.expectTiled(2) // the halves rest
	w.clock.Advance(halvesRest)
	w.sizes[2] = 10
	for range 20 {
		m.round(context.Background())
	}
	w.expectTiled(3)
	if s := w.machine.Map().Shards[1]; s.Id != 3 || s.ParentId != 1 {
		t.Errorf("the second split made %v", s)
	}
}

// TestAShardIsNotSplitWithoutRoomForBothHalves: while both halves write anew what is theirs, the tables of the whole stay.
func TestAShardIsNotSplitWithoutRoomForBothHalves(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	w.sizes = map[uint64]uint64{1: 20 << 30}
	w.filled["b"] = 80 << 30 // of 100, of which 2 stay free
	m := w.master()
	order := func() error {
		_, err := m.splitShard(context.Background(), &pb.SplitShardRequest{ShardId: 1, AtSlot: api.SlotCount / 2})
		return err
	}
	if err := order(); api.CodeOf(err) != api.CodeUnavailable || !strings.Contains(err.Error(), "node b has room for 18432 MiB") {
		t.Errorf("the order of an operator: %v", err)
	}
	m.o.SplitBytes = 1 << 30
	m.round(context.Background())
	if s, err := m.Status(); err != nil || len(s.Splitting) != 0 || !slices.ContainsFunc(s.Blocked, func(b string) bool { return strings.Contains(b, "b has no room") }) {
		t.Errorf("the status is %v, %v", s, err)
	}
	w.expectTiled(1)
	w.filled["b"] = 70 << 30
	m.round(context.Background())
	m.round(context.Background())
	w.expectTiled(2)
	w.clock.Advance(halvesRest)
	m.o.SplitBytes = 0
	if err := order(); err != nil {
		t.Errorf("the order that comes when it is done: %v", err)
	}
}

// TestALearnerThatComesWhileAShardIsToBeSplitIsTakenOut: an order to add it was under way when its replica was given up, and
// came to the leader when the map had noted the split, which is for the members that there were.
func TestALearnerThatComesWhileAShardIsToBeSplitIsTakenOut(t *testing.T) {
	w := newWorld(t, 1, "a", "b", "c")
	w.join("d")
	w.order(1, api.SlotCount/2)
	m := w.master()
	w.groups[1].members = append(w.groups[1].members, &peerv1.GroupMember{NodeId: "d", Incarnation: 9, CaughtUp: true})
	w.groups[1].index++
	for range 3 {
		m.round(context.Background())
	}
	w.expectTiled(2)
	for id, g := range w.groups {
		if slices.ContainsFunc(g.members, func(m *peerv1.GroupMember) bool { return m.Incarnation == 9 }) {
			t.Errorf("shard %d has the members %v", id, g.members)
		}
	}
}
