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
	// Fixed: it keeps its leader. Lately: it keeps it as far as load is concerned.
	Fixed, Lately bool
}

// Leaders is which node leads which shard. It is not safe for concurrent use.
type Leaders struct {
	nodes      []api.NodeID // sorted
	weights    []int64
	shards     []Led
	candidates [][]int // sorted
	field      field
}

// NewLeaders looks at who leads. Shards without candidates or with a leader that is none of them do
// not take part. Of nodes, the weights count; a node that could lead nothing takes no part either.
func NewLeaders(cluster string, nodes []Node, shards []Led) *Leaders {
	l := newLeaders(cluster, nodes, shards)
	l.bounds()
	return l
}

func newLeaders(cluster string, nodes []Node, shards []Led) *Leaders {
	l := &Leaders{shards: slices.Clone(shards), candidates: make([][]int, len(shards))}
	for _, s := range shards {
		l.nodes = append(l.nodes, s.Candidates...)
	}
	slices.Sort(l.nodes)
	l.nodes = slices.Compact(l.nodes)
	l.weights = slices.Repeat([]int64{NormalWeight}, len(l.nodes))
	for _, node := range nodes {
		if n, ok := slices.BinarySearch(l.nodes, node.ID); ok && node.Weight > 0 {
			l.weights[n] = int64(min(node.Weight, MaxWeight))
		}
	}
	f := &l.field
	f.holds = make([][]int, len(l.nodes))
	for i, s := range l.shards {
		if !slices.Contains(s.Candidates, s.Leader) {
			continue
		}
		for _, id := range s.Candidates {
			n, _ := slices.BinarySearch(l.nodes, id)
			l.candidates[i] = append(l.candidates[i], n)
		}
		slices.Sort(l.candidates[i])
		n, _ := slices.BinarySearch(l.nodes, s.Leader)
		f.holds[n] = append(f.holds[n], i)
	}
	f.share = fairLeads(l.candidates, l.weights)
	f.size = l.sizes()
	f.bounds(len(shards), true)
	f.weigh()
	f.allowed, f.better = l.allowed, l.better(cluster)
	f.lately = func(shard int) bool { return l.shards[shard].Lately }
	return l
}

// bounds widens the bounds by what is tolerated around the mean by weight: one leadership, or a tenth. Where replicas do
// not allow that, the bounds are the share rounded down and up, so that some assignment is always within them.
func (l *Leaders) bounds() {
	led, weight := int64(0), int64(0)
	for _, items := range l.field.holds {
		led += int64(len(items))
	}
	for _, w := range l.weights {
		weight += w
	}
	for n, w := range l.weights {
		mean := led * one * w / weight
		slack := max(one, mean/tolerance)
		l.field.low[n] = min(l.field.low[n], int(max(0, mean-slack+one-1)/one))
		l.field.high[n] = max(l.field.high[n], int((mean+slack+1)/one)) // the mean is rounded down
	}
}

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
	claims := make([][]*score, len(l.shards))
	claim := func(shard, node int) score {
		if claims[shard] == nil {
			claims[shard] = make([]*score, len(l.nodes))
		}
		if claims[shard][node] == nil {
			claims[shard][node] = new(newScore(cluster, l.nodes[node], NormalWeight, l.shards[shard].Key))
		}
		return *claims[shard][node]
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
	return l.apply(t), true
}

func (l *Leaders) apply(t transfer) Move {
	m := Move{Group: t.item, From: l.nodes[t.from], To: l.nodes[t.to], ByLoad: t.byLoad, FromFill: l.field.fill(t.from), ToFill: l.field.fill(t.to)}
	l.field.apply(t)
	l.shards[t.item].Fixed = true
	return m
}

// swapGain is by how much, in hundredths, a swap must lower the requests of the node that has the most for its weight.
const swapGain = 20

// Swap has two leaderships change places, when Spread finds nothing: one of the node with the most requests for its
// weight, and one with fewer of another node. The sum of load squared by share shrinks with it, as with a change of
// Spread, so that these end together. Both changes belong together: one alone would soon be taken back.
func (l *Leaders) Swap() (there, back Move, ok bool) {
	busy, total := make([]int64, len(l.nodes)), int64(0)
	for n, items := range l.field.holds {
		for _, item := range items {
			busy[n] += max(0, l.shards[item].Requests)
		}
		total += busy[n]
	}
	per := func(n int, requests int64) int64 { return requests * NormalWeight / l.weights[n] }
	top := 0
	for n := range busy {
		if per(n, busy[n]) > per(top, busy[top]) {
			top = n
		}
	}
	if total < minRequests {
		return Move{}, Move{}, false
	}
	best, found := per(top, busy[top])*(100-swapGain)/100, false
	var first, second transfer
	for _, mine := range l.field.holds[top] {
		for n, items := range l.field.holds {
			if n == top || l.shards[mine].Lately || !l.allowed(mine, top, n) {
				continue
			}
			for _, other := range items {
				d := l.shards[mine].Requests - l.shards[other].Requests
				worst := max(per(top, busy[top]-d), per(n, busy[n]+d))
				if worst < best && !l.shards[other].Lately && l.allowed(other, n, top) && l.lessens(mine, other, top, n) {
					best, found = worst, true
					first, second = transfer{item: mine, from: top, to: n, byLoad: true}, transfer{item: other, from: n, to: top, byLoad: true}
				}
			}
		}
	}
	if !found {
		return Move{}, Move{}, false
	}
	return l.apply(first), l.apply(second), true
}

// lessens reports whether the sum of load squared by share shrinks when two bins swap two items.
func (l *Leaders) lessens(mine, other, from, to int) bool {
	f := &l.field
	d := f.size[mine] - f.size[other]
	return d > 0 && d*1000/max(1, f.ideal[from])+d*1000/max(1, f.ideal[to]) < 2*(f.fill(from)-f.fill(to))
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
