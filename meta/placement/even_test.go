package placement

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

// anyLeaders is shards whose replicas are anywhere and led by anyone of them: some nodes hold far more than others.
func anyLeaders(rng *rand.Rand) []Led {
	all := nodes(3+rng.IntN(48), 0)
	popular := 1 + rng.IntN(len(all))
	out := make([]Led, 3+rng.IntN(510))
	for i := range out {
		out[i].Key = int64(i) + 1
		want := min(len(all), []int{1, 2, 3, 3, 3, 3, 5}[rng.IntN(7)])
		for len(out[i].Candidates) < want {
			among := len(all)
			if rng.IntN(3) > 0 && popular > want {
				among = popular
			}
			if id := all[rng.IntN(among)].ID; !slices.Contains(out[i].Candidates, id) {
				out[i].Candidates = append(out[i].Candidates, id)
			}
		}
		out[i].Leader = out[i].Candidates[rng.IntN(want)]
	}
	return out
}

// feasible is a flow from shards to nodes: it reports whether every shard can have a leader with no more than room for each
// node, or, exactly, whether every node can have as many as there is room.
func feasible(shards []Led, room int, filled bool) bool {
	led := map[api.NodeID][]int{}
	var place func(shard int, tried map[api.NodeID]bool) bool
	place = func(shard int, tried map[api.NodeID]bool) bool {
		for _, id := range shards[shard].Candidates {
			if tried[id] {
				continue
			}
			tried[id] = true
			if len(led[id]) < room {
				led[id] = append(led[id], shard)
				return true
			}
			for at, other := range led[id] {
				if place(other, tried) {
					led[id][at] = shard
					return true
				}
			}
		}
		return false
	}
	placed := 0
	known := map[api.NodeID]bool{}
	for i, s := range shards {
		for _, id := range s.Candidates {
			known[id] = true
		}
		if place(i, map[api.NodeID]bool{}) {
			placed++
		} else if !filled {
			return false
		}
	}
	return !filled || placed == room*len(known)
}

// spreadAll spreads leaders a few at a time, as a master does, and returns how many changed.
func spreadAll(t *testing.T, shards []Led) int {
	t.Helper()
	for moves := 0; ; {
		l, before := NewLeaders("cluster", nil, shards), moves
		for range 8 {
			m, ok := l.Spread()
			if !ok && moves == before {
				if there, back, swap := l.Swap(); swap {
					shards[there.Group].Leader, shards[back.Group].Leader = there.To, back.To
					moves += 2
				}
			}
			if !ok {
				break
			}
			s := &shards[m.Group]
			if moves++; s.Leader != m.From || !slices.Contains(s.Candidates, m.To) || moves > 6*len(shards)+60 {
				t.Fatalf("move %d: shard %d, led by %s, can be led by %v: %+v", moves, s.Key, s.Leader, s.Candidates, m)
			}
			s.Leader = m.To
		}
		if moves == before {
			return moves
		}
	}
}

// TestLeadersAreAsEvenAsReplicasAllow (L8) compares with what flows say is possible.
func TestLeadersAreAsEvenAsReplicasAllow(t *testing.T) {
	rng := testkit.Rand(t)
	for range 30 {
		shards := anyLeaders(rng)
		stands := NewLeaders("cluster", nil, shards).Stands()
		mean := int64(len(shards)) * one / int64(len(stands))
		slack := max(one, mean/tolerance)
		most, least := 0, len(shards)
		for !feasible(shards, most, false) {
			most++
		}
		for !feasible(shards, least, true) {
			least--
		}
		high, low := max(most, int((mean+slack+1)/one)), min(least, int(max(0, mean-slack+one-1)/one))
		spreadAll(t, shards)
		fairMost, fairLeast := int64(0), int64(len(shards))*one
		for _, s := range NewLeaders("cluster", nil, shards).Stands() {
			fairMost, fairLeast = max(fairMost, s.Share), min(fairLeast, s.Share)
			if s.Replicas < s.Least || s.Replicas > s.Most || s.Replicas < low || s.Replicas > high {
				t.Fatalf("%d shards on %d nodes: %s leads %d of %d to %d; in the best assignment the least is %d and the most %d: %+v",
					len(shards), len(stands), s.Node, s.Replicas, s.Least, s.Most, least, most, stands)
			}
		}
		if fairMost <= int64(most-1)*one || fairMost > int64(most)*one || fairLeast >= int64(least+1)*one || fairLeast < int64(least)*one {
			t.Fatalf("%d shards on %d nodes: shares are from %d to %d, and the best assignment from %d to %d", len(shards), len(stands), fairLeast, fairMost, least, most)
		}
	}
}

// TestLeadersStayWhenThereIsNothingToGain: a replica that comes or goes moves few leaders, not all.
func TestLeadersStayWhenThereIsNothingToGain(t *testing.T) {
	rng := testkit.Rand(t)
	for range 40 {
		all := nodes(4+rng.IntN(20), 0)
		var shards []Led
		for i, s := range Shards("cluster", 3, all, 8+rng.IntN(120)) {
			shards = append(shards, Led{Key: int64(i) + 1, Leader: s.Replicas[0], Candidates: s.Replicas})
		}
		if moves := spreadAll(t, shards); moves > 0 {
			t.Fatalf("%d leaders of a new cluster move", moves)
		}
		s := &shards[rng.IntN(len(shards))]
		s.Candidates = slices.Clone(s.Candidates[:2])
		s.Leader = s.Candidates[rng.IntN(2)]
		if moves := spreadAll(t, shards); moves > 1 {
			t.Fatalf("%d leaders move for one replica that goes", moves)
		}
	}
}

// TestANodeWithMoreReplicasLeadsNoMore: weights decide, not what a node happens to hold.
func TestANodeWithMoreReplicasLeadsNoMore(t *testing.T) {
	var shards []Led
	for i := range 24 { // a holds all, the others half of them each
		others := [][]api.NodeID{{"a", "b", "c"}, {"a", "d", "e"}}[i%2]
		shards = append(shards, Led{Key: int64(i) + 1, Leader: "a", Candidates: others})
	}
	spreadAll(t, shards)
	for _, s := range NewLeaders("cluster", nil, shards).Stands() {
		if s.Share != 4800 || s.Replicas < 4 || s.Replicas > 5 {
			t.Errorf("%s leads %d of a share of %d thousandths", s.Node, s.Replicas, s.Share)
		}
	}
	heavy := NewLeaders("cluster", []Node{{ID: "b", Weight: 4 * NormalWeight}}, shards)
	if s := heavy.Stands()[1]; s.Node != "b" || s.Share != 9600 {
		t.Errorf("a node of weight 400 that shares all it holds with one of 100 has a share of %+v", s)
	}
}

// TestBusyLeadershipsChangePlaces where none alone may move: that would only turn the two nodes round.
func TestBusyLeadershipsChangePlaces(t *testing.T) {
	both := []api.NodeID{"a", "b"}
	shards := []Led{
		{Key: 1, Leader: "a", Candidates: both, Requests: 900}, {Key: 2, Leader: "a", Candidates: both, Requests: 800},
		{Key: 3, Leader: "b", Candidates: both, Requests: 100}, {Key: 4, Leader: "b", Candidates: both, Requests: 200},
	}
	late := slices.Clone(shards)
	late[2].Lately, late[3].Lately = true, true
	l := NewLeaders("cluster", nil, late)
	if m, ok := l.Spread(); ok {
		t.Errorf("what came lately moves again: %+v", m)
	}
	if m, _, ok := l.Swap(); ok {
		t.Errorf("what came lately is swapped: %+v", m)
	}
	if moves := spreadAll(t, shards); moves != 2 {
		t.Errorf("%d leaders change", moves)
	}
	busy := map[api.NodeID]int64{}
	for _, s := range shards {
		busy[s.Leader] += s.Requests
	}
	if busy["a"] != 1000 || busy["b"] != 1000 {
		t.Errorf("the requests are %v", busy)
	}
}

// TestSpreadingByLoadEnds: whatever the loads, and keeps the bounds by number.
func TestSpreadingByLoadEnds(t *testing.T) {
	rng := testkit.Rand(t)
	for range 15 {
		shards := anyLeaders(rng)
		for i := range shards {
			shards[i].Requests = int64(rng.ExpFloat64() * 1000)
		}
		spreadAll(t, shards)
		for _, s := range NewLeaders("cluster", nil, shards).Stands() {
			if s.Replicas < s.Least || s.Replicas > s.Most {
				t.Fatalf("%s leads %d of %d to %d", s.Node, s.Replicas, s.Least, s.Most)
			}
		}
	}
}
