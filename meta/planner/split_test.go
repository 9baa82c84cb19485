package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

const simulatedSlots = 16384

// withArcs gives the shards of a simulation even arcs and a size.
func (s *simulation) withArcs(bytes int64) *simulation {
	count := len(s.view.Shards)
	for i := range s.view.Shards {
		s.view.Shards[i].Start, s.view.Shards[i].End = uint32(i*simulatedSlots/count), uint32((i+1)*simulatedSlots/count)
		s.view.Shards[i].Bytes = bytes
	}
	return s
}

// passSplits carries splits out that have a majority, and lets the halves shrink some rounds later.
func (s *simulation) passSplits() {
	for id, at := range s.splits {
		parent := &s.view.Shards[id-1]
		if s.healthy(*parent) < quorum(voters(*parent)) || !s.calm && s.rng.IntN(2) == 0 {
			continue
		}
		delete(s.splits, id)
		child := *parent
		child.ID, child.Start, child.Splitting, child.Halved = api.ShardID(len(s.view.Shards)+1), at, false, true
		child.Replicas = slices.Clone(parent.Replicas)
		child.Preferred = parent.Replicas[len(parent.Replicas)-1].Node
		parent.End, parent.Splitting, parent.Halved = at, false, true
		s.view.Shards = append(s.view.Shards, child)
		s.halves[id], s.halves[child.ID] = 0, 0
	}
	for id := range s.halves {
		if s.halves[id]++; s.halves[id] > 4 {
			delete(s.halves, id)
			half := &s.view.Shards[id-1]
			half.Bytes, half.Halved = half.Bytes/2, false
		}
	}
}

// checkSplit is PN7.
func (s *simulation) checkSplit(step Step, shard Shard) {
	s.t.Helper()
	if shard.Splitting && step.Kind != Lead {
		s.t.Fatalf("the members of a shard are changed while it is split (PN7): %+v", step)
	}
	if step.Kind != Split {
		return
	}
	whole := s.healthy(shard) == len(shard.Replicas)
	if !whole || shard.Halved || shard.Bytes <= s.view.SplitBytes || step.Slot <= shard.Start || step.Slot >= shard.End || len(s.splits) > 0 {
		s.t.Fatalf("a split that should not be (PN7): %+v of %+v, %v under way", step, shard, s.splits)
	}
}

func TestSplitsReadLikeThis(t *testing.T) {
	var b strings.Builder
	s := calm(t, 3, 0, 2, 3).withArcs(100 << 20)
	s.view.SplitBytes = 1 << 30
	s.view.Shards[1].Bytes = 3 << 30
	s.addNode(3, 0)
	fmt.Fprintf(&b, "one of two shards has three times the bytes that it should, and a fourth node joins\n%s", draw(s.view))
	for range 15 {
		s.story(&b, 1)
	}
	for _, shard := range s.view.Shards {
		fmt.Fprintf(&b, "shard %d: %d to %d, %d MiB\n", shard.ID, shard.Start, shard.End, shard.Bytes>>20)
	}
	golden(t, "splits.txt", b.String())
}

// TestAShardIsNotSplitWithoutNeed goes through what keeps it from that.
func TestAShardIsNotSplitWithoutNeed(t *testing.T) {
	for name, change := range map[string]func(*simulation){
		"no limit":            func(s *simulation) { s.view.SplitBytes = 0 },
		"at the limit":        func(s *simulation) { s.view.Shards[0].Bytes = s.view.SplitBytes },
		"paused":              func(s *simulation) { s.view.Paused = true },
		"half of a split":     func(s *simulation) { s.view.Shards[0].Halved = true },
		"another is split":    func(s *simulation) { s.view.Shards[1].Splitting = true },
		"one slot":            func(s *simulation) { s.view.Shards[0].End = 1 },
		"a replica is down":   func(s *simulation) { s.view.Nodes[0].Down = 1 },
		"a report is missing": func(s *simulation) { s.view.Shards[0].Reported = false },
		"a step is under way": func(s *simulation) { s.view.Shards[0].Busy = true },
		"a node is full":      func(s *simulation) { s.view.Nodes[0].Full = true },
		"too little room":     func(s *simulation) { s.view.Nodes[2].Room = 1999 },
		"halves need it, too": func(s *simulation) { s.view.Nodes[2].Room, s.view.Shards[1].Halved = 2004, true },
	} {
		s := calm(t, 3, 0, 2, 3).withArcs(10)
		s.view.SplitBytes, s.view.Shards[0].Bytes = 1000, 2000
		if steps := Make(s.view).Steps; len(steps) != 1 || steps[0].Kind != Split || steps[0].Shard != 1 || steps[0].Slot != simulatedSlots/4 {
			t.Fatalf("the plan is %+v", steps)
		}
		change(s)
		for _, step := range Make(s.view).Steps {
			if step.Kind == Split {
				t.Errorf("%s: %+v", name, step)
			}
		}
	}
}

// TestAShardWithoutRoomForItsHalvesWaits (PN7), says so, and keeps no other from being split.
func TestAShardWithoutRoomForItsHalvesWaits(t *testing.T) {
	s := calm(t, 4, 0, 2, 3).withArcs(10)
	s.view.SplitBytes, s.view.Shards[0].Bytes, s.view.Shards[1].Bytes = 1000, 3000, 2000
	only := slices.IndexFunc(s.view.Nodes, func(n Node) bool {
		_, first := replicaOn(s.view.Shards[0], n.ID)
		_, second := replicaOn(s.view.Shards[1], n.ID)
		return first && !second
	})
	if only < 0 {
		t.Fatalf("no node holds the first shard only: %+v", s.view.Shards)
	}
	s.view.Nodes[only].Room = 2999
	plan := Make(s.view)
	if len(plan.Steps) != 1 || plan.Steps[0].Kind != Split || plan.Steps[0].Shard != 2 {
		t.Errorf("the steps are %+v", plan.Steps)
	}
	if len(plan.Blocked) != 1 || plan.Blocked[0].Shard != 1 || plan.Blocked[0].Why != NoRoom || plan.Blocked[0].Node != s.view.Nodes[only].ID {
		t.Errorf("what waits is %+v", plan.Blocked)
	}
	s.view.Nodes[only].Room = 3000
	if plan := Make(s.view); len(plan.Steps) != 1 || plan.Steps[0].Shard != 1 || len(plan.Blocked) != 0 {
		t.Errorf("with room the plan is %+v", plan)
	}
}

// TestSplitsComeToAnEnd: whatever fails, every shard is small enough in the end, and the halves are spread.
func TestSplitsComeToAnEnd(t *testing.T) {
	rng := testkit.Rand(t)
	for range 20 {
		s := newSimulation(t, rng, 3+rng.IntN(4), 0, 1+rng.IntN(4), 3)
		s.withArcs(int64(rng.IntN(8000)))
		s.view.SplitBytes = 1000
		for range 60 {
			s.round()
		}
		s.settleSplits()
		for _, shard := range s.view.Shards {
			if shard.Bytes > s.view.SplitBytes || shard.Splitting {
				t.Fatalf("a shard is not split: %+v", shard)
			}
		}
		s.checkEven()
	}
}

// settleSplits settles until no shard is too large.
func (s *simulation) settleSplits() {
	s.t.Helper()
	for range 40 {
		s.settle()
		if !slices.ContainsFunc(s.view.Shards, func(x Shard) bool { return x.Halved || x.Splitting || x.Bytes > s.view.SplitBytes }) {
			return
		}
		s.round()
	}
	s.t.Fatalf("no end of splits: %+v", s.view.Shards)
}

// TestABusyShardIsSplit as a large one is, but not where few slots have it all, or its requests are unknown.
func TestABusyShardIsSplit(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*View)
		want   api.ShardID
	}{
		"the busiest":       {func(*View) {}, 2},
		"off":               {func(v *View) { v.SplitRequests = 0 }, 0},
		"unknown":           {func(v *View) { v.Shards[1].Requests = -1 }, 3},
		"half of another":   {func(v *View) { v.Shards[1].Halved = true }, 3},
		"few slots":         {func(v *View) { v.Shards[1].End = v.Shards[1].Start + minBusySlots - 1 }, 3},
		"a large one first": {func(v *View) { v.SplitBytes, v.Shards[0].Bytes = 1000, 2000 }, 1},
	} {
		s := calm(t, 3, 0, 3, 3)
		s.view.SplitRequests = 1000
		for i, requests := range []int64{1000, 3000, 2000} {
			s.view.Shards[i].Start, s.view.Shards[i].End = uint32(i)*5000, uint32(i+1)*5000
			s.view.Shards[i].Requests, s.view.Shards[i].LedLately = requests, true
		}
		c.change(&s.view)
		got, text := api.ShardID(0), ""
		for _, step := range Make(s.view).Steps {
			if step.Kind == Split {
				got, text = step.Shard, step.Text
			}
		}
		if got != c.want {
			t.Errorf("%s: shard %d is split, expected %d: %s", name, got, c.want, text)
		}
		if name == "the busiest" && text != "shard 2 is split at slot 7500: it has 3000 requests per second, more than 1000" {
			t.Error(text)
		}
	}
}
