package placement

import (
	"cmp"
	"slices"

	"github.com/lightning-db/lightning/api"
)

// Led is a shard as the spreading of leaders sees it.
type Led struct {
	Key int64
	// Leader leads, or is to lead; it is one of Candidates.
	Leader api.NodeID
	// Candidates are those who could lead.
	Candidates []api.NodeID
	// Requests is what the leader carries.
	Requests int64
	// Fixed: it keeps its leader.
	Fixed bool
}

// Leaders is which node leads which shard. It is not safe for concurrent use.
type Leaders struct {
	nodes      []api.NodeID // sorted
	shards     []Led
	candidates [][]int // sorted
	field      field
}

// NewLeaders looks at who leads. Shards without candidates or with a leader that is none of them do
// not take part.
func NewLeaders(cluster string, shards []Led) *Leaders { return newLeaders(cluster, shards, false) }

func newLeaders(cluster string, shards []Led, tight bool) *Leaders {
	l := &Leaders{shards: slices.Clone(shards), candidates: make([][]int, len(shards))}
	for _, s := range shards {
		l.nodes = append(l.nodes, s.Candidates...)
	}
	slices.Sort(l.nodes)
	l.nodes = slices.Compact(l.nodes)
	f := &l.field
	f.holds, f.share = make([][]int, len(l.nodes)), make([]int64, len(l.nodes))
	for i, s := range l.shards {
		if !slices.Contains(s.Candidates, s.Leader) {
			continue
		}
		for _, id := range s.Candidates {
			n, _ := slices.BinarySearch(l.nodes, id)
			l.candidates[i] = append(l.candidates[i], n)
			f.share[n] += leaderUnit / int64(len(s.Candidates))
		}
		slices.Sort(l.candidates[i])
		n, _ := slices.BinarySearch(l.nodes, s.Leader)
		f.holds[n] = append(f.holds[n], i)
	}
	for n := range f.share {
		f.share[n] = (f.share[n]*one + leaderUnit/2) / leaderUnit
	}
	f.size = l.sizes()
	f.bounds(len(shards), tight)
	f.weigh()
	f.allowed, f.better = l.allowed, l.better(cluster)
	return l
}

// leaderUnit is divided by numbers of replicas without remainder.
const leaderUnit = 2 * 3 * 2 * 5 * 7 * 1_000_000

func (l *Leaders) sizes() []int64 {
	var count, requests int64
	for i, s := range l.shards {
		if len(l.candidates[i]) > 0 {
			count++
			requests += max(0, s.Requests)
		}
	}
	out := make([]int64, len(l.shards))
	for i, s := range l.shards {
		out[i] = part(1, count)
		if requests >= minRequests {
			out[i] = (out[i] + part(s.Requests, requests)) / 2
		}
	}
	return out
}

func (l *Leaders) allowed(shard, from, to int) bool {
	_, ok := slices.BinarySearch(l.candidates[shard], to)
	return ok && !l.shards[shard].Fixed
}

func (l *Leaders) better(cluster string) func(a, b, from, to int) int {
	claim := func(shard, node int) score {
		return newScore(cluster, l.nodes[node], NormalWeight, l.shards[shard].Key)
	}
	return func(a, b, from, to int) int {
		return gain(claim(a, from), claim(a, to), claim(b, from), claim(b, to))
	}
}

// Spread makes the next change that spreads leaders more evenly, fixes the shard and returns the
// change.
func (l *Leaders) Spread() (Move, bool) {
	t, ok := l.field.next()
	if !ok {
		return Move{}, false
	}
	m := Move{Group: t.item, From: l.nodes[t.from], To: l.nodes[t.to], ByLoad: t.byLoad, FromFill: l.field.fill(t.from), ToFill: l.field.fill(t.to)}
	l.field.apply(t)
	l.shards[t.item].Fixed = true
	return m, true
}

// Stands lists the nodes by id; Replicas are the shards that a node leads.
func (l *Leaders) Stands() []Stand {
	out := make([]Stand, len(l.nodes))
	for i, id := range l.nodes {
		out[i] = Stand{Node: id, Replicas: len(l.field.holds[i]), Share: l.field.share[i], Least: l.field.low[i], Most: l.field.high[i], Fill: l.field.fill(i)}
	}
	return out
}

// strongest orders nodes by their claim to a group.
func strongest(cluster string, nodes []Node, group int64) []api.NodeID {
	sorted := slices.Clone(nodes)
	slices.SortFunc(sorted, func(a, b Node) int {
		x, y := newScore(cluster, a.ID, max(a.Weight, 1), group), newScore(cluster, b.ID, max(b.Weight, 1), group)
		return cmp.Or(y.compare(x), cmp.Compare(a.ID, b.ID))
	})
	out := make([]api.NodeID, len(sorted))
	for i, n := range sorted {
		out[i] = n.ID
	}
	return out
}
