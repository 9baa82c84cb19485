package placement

import (
	"cmp"
	"slices"

	"github.com/lightning-db/lightning/api"
)

// Node is a place for replicas.
type Node struct {
	ID api.NodeID
	// Zone fails as a whole; a node without one fails alone.
	Zone string
	// Weight is 1 to MaxWeight, 0 means NormalWeight.
	Weight int
	// Closed: it gets nothing new.
	Closed bool
	// Fixed: nothing is taken from it to make others more even.
	Fixed bool
}

// MaxWeight is a hundred normal nodes.
const MaxWeight = 100 * NormalWeight

// Group is a shard, or the meta group, and where its replicas are.
type Group struct {
	Key      int64
	Replicas []api.NodeID
	// Bytes and Requests are what one replica carries.
	Bytes, Requests int64
	// Fixed: its replicas are not moved to make nodes more even.
	Fixed bool
}

// Below these totals a load is noise: moving it costs more than it evens out.
const (
	minBytes    = 1 << 30
	minRequests = 1000
)

// Layout is which nodes hold which groups. It is not safe for concurrent use.
type Layout struct {
	cluster     string
	replication int
	nodes       []Node // by id
	zoneOf      []int
	limit       int // of replicas of one group in one zone
	groups      []Group
	holders     [][]int // nodes by group, in no order
	scores      [][]score
	field       field
}

// NewLayout puts groups on nodes, which are distinct. Replicas on other nodes do not exist for it.
func NewLayout(cluster string, replication int, nodes []Node, groups []Group) *Layout {
	return newLayout(cluster, replication, nodes, groups, false)
}

func newLayout(cluster string, replication int, nodes []Node, groups []Group, tight bool) *Layout {
	l := &Layout{
		cluster:     cluster,
		replication: min(replication, len(nodes)),
		nodes:       slices.Clone(nodes),
		groups:      slices.Clone(groups),
		holders:     make([][]int, len(groups)),
		scores:      make([][]score, len(groups)),
	}
	slices.SortFunc(l.nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	for i := range l.nodes {
		if n := &l.nodes[i]; n.Weight == 0 {
			n.Weight = NormalWeight
		} else {
			n.Weight = min(max(n.Weight, 1), MaxWeight)
		}
	}
	l.divide(tight)
	l.field.holds = make([][]int, len(l.nodes))
	for g, group := range l.groups {
		for _, id := range group.Replicas {
			if n, ok := l.index(id); ok {
				l.holders[g] = append(l.holders[g], n)
				l.field.holds[n] = append(l.field.holds[n], g)
			}
		}
	}
	l.field.size = sizes(l.groups, l.holders)
	l.field.weigh()
	l.field.allowed, l.field.better = l.allowed, l.better
	return l
}

// divide computes zones, shares and bounds.
func (l *Layout) divide(tight bool) {
	f := filler{zones: byZone(l.nodes), each: int64(len(l.groups))}
	l.zoneOf = make([]int, len(l.nodes))
	counts := make([]int, len(f.zones))
	for z, nodes := range f.zones {
		counts[z] = len(nodes)
		for _, n := range nodes {
			l.zoneOf[n] = z
		}
	}
	l.limit = zoneLimit(counts, l.replication)
	for _, n := range l.nodes {
		f.weights = append(f.weights, n.Weight)
	}
	for z := range f.zones {
		f.limits = append(f.limits, int64(len(l.groups)*min(l.limit, counts[z])))
	}
	l.field.share = f.shares(int64(len(l.groups) * l.replication))
	l.field.bounds(len(l.groups), tight)
}

// sizes are what one replica of each group weighs: equal parts for its number, its bytes and its
// requests, as far as these are more than noise.
func sizes(groups []Group, holders [][]int) []int64 {
	var replicas, bytes, requests int64
	for g, group := range groups {
		n := int64(len(holders[g]))
		replicas += n
		bytes += n * max(0, group.Bytes)
		requests += n * max(0, group.Requests)
	}
	out := make([]int64, len(groups))
	for g, group := range groups {
		sum, kinds := part(1, replicas), int64(1)
		if bytes >= minBytes {
			sum, kinds = sum+part(group.Bytes, bytes), kinds+1
		}
		if requests >= minRequests {
			sum, kinds = sum+part(group.Requests, requests), kinds+1
		}
		out[g] = sum / kinds
	}
	return out
}

func (l *Layout) index(id api.NodeID) (int, bool) {
	return slices.BinarySearchFunc(l.nodes, id, func(n Node, id api.NodeID) int { return cmp.Compare(n.ID, id) })
}

// score is a node's claim to a group.
func (l *Layout) score(group, node int) score {
	if l.scores[group] == nil {
		l.scores[group] = make([]score, len(l.nodes))
		for i, n := range l.nodes {
			l.scores[group][i] = newScore(l.cluster, n.ID, n.Weight, l.groups[group].Key)
		}
	}
	return l.scores[group][node]
}

// inZone is how many replicas of a group a zone holds.
func (l *Layout) inZone(group, zone int) int {
	count := 0
	for _, n := range l.holders[group] {
		if l.zoneOf[n] == zone {
			count++
		}
	}
	return count
}

func (l *Layout) allowed(group, from, to int) bool {
	if l.groups[group].Fixed || l.nodes[from].Fixed || l.nodes[to].Closed || slices.Contains(l.holders[group], to) {
		return false
	}
	return l.zoneOf[from] == l.zoneOf[to] || l.inZone(group, l.zoneOf[to]) < l.limit
}

func (l *Layout) better(a, b, from, to int) int {
	return gain(l.score(a, from), l.score(a, to), l.score(b, from), l.score(b, to))
}

// Place adds a replica.
func (l *Layout) Place(group int, node api.NodeID) {
	n, ok := l.index(node)
	if !ok || slices.Contains(l.holders[group], n) {
		return
	}
	l.holders[group] = append(l.holders[group], n)
	l.field.holds[n] = append(l.field.holds[n], group)
	l.field.load[n] += l.field.size[group]
}

// Drop takes a replica away.
func (l *Layout) Drop(group int, node api.NodeID) {
	n, ok := l.index(node)
	at := slices.Index(l.holders[group], n)
	if !ok || at < 0 {
		return
	}
	l.holders[group] = slices.Delete(l.holders[group], at, at+1)
	at = slices.Index(l.field.holds[n], group)
	l.field.holds[n] = slices.Delete(l.field.holds[n], at, at+1)
	l.field.load[n] -= l.field.size[group]
}

// Fix keeps the replicas of a group where they are.
func (l *Layout) Fix(group int) { l.groups[group].Fixed = true }

// Best is who should get the next replica of a group: a node in a zone with room for it, if there is
// one; within its share rounded up, if there is one; and of these the one with the strongest claim. When
// all are at their shares it is the one with the least beyond it.
func (l *Layout) Best(group int) (api.NodeID, bool) {
	ranking := l.Ranking(group)
	if len(ranking) == 0 || ranking[0].Rank > Crowding {
		return "", false
	}
	return ranking[0].Node, true
}

// BestApart is like Best, but refuses a node in a zone without room.
func (l *Layout) BestApart(group int) (api.NodeID, bool) {
	ranking := l.Ranking(group)
	if len(ranking) == 0 || ranking[0].Rank > OverShare {
		return "", false
	}
	return ranking[0].Node, true
}

// Crowded is the replica that should leave the zone that holds too many of a group, if there is such
// a zone: the one on the node that is fullest.
func (l *Layout) Crowded(group int) (api.NodeID, bool) {
	best := -1
	for _, n := range l.holders[group] {
		if l.inZone(group, l.zoneOf[n]) <= l.limit {
			continue
		}
		if best < 0 || l.field.fill(n) > l.field.fill(best) || l.field.fill(n) == l.field.fill(best) && n < best {
			best = n
		}
	}
	if best < 0 {
		return "", false
	}
	return l.nodes[best].ID, true
}

// Spare is the replica that a group with too many should give up: one in a crowded zone, else on the
// fullest node, where the claim is weakest.
func (l *Layout) Spare(group int) (api.NodeID, bool) {
	if id, ok := l.Crowded(group); ok {
		return id, true
	}
	best := -1
	for _, n := range l.holders[group] {
		if best < 0 || l.sooner(group, n, best) {
			best = n
		}
	}
	if best < 0 {
		return "", false
	}
	return l.nodes[best].ID, true
}

func (l *Layout) sooner(group, a, b int) bool {
	overA, overB := len(l.field.holds[a])-l.field.high[a], len(l.field.holds[b])-l.field.high[b]
	if c := cmp.Or(cmp.Compare(max(0, overA), max(0, overB)), cmp.Compare(l.field.fill(a), l.field.fill(b))); c != 0 {
		return c > 0
	}
	return l.score(group, a).compare(l.score(group, b)) < 0
}

// Move takes a replica of a group from one node to another.
type Move struct {
	Group    int
	From, To api.NodeID
	// ByLoad: the numbers of replicas are even, what they carry is not.
	ByLoad bool
	// FromFill and ToFill are the loads of both nodes before the move, in thousandths of their shares.
	FromFill, ToFill int64
}

// Balance makes the next move that makes nodes more even, fixes the group and returns the move. Done
// one after the other in any order with new layouts between them, moves come to an end (L7).
func (l *Layout) Balance() (Move, bool) {
	t, ok := l.field.next()
	if !ok {
		return Move{}, false
	}
	m := Move{Group: t.item, From: l.nodes[t.from].ID, To: l.nodes[t.to].ID, ByLoad: t.byLoad, FromFill: l.field.fill(t.from), ToFill: l.field.fill(t.to)}
	l.Drop(m.Group, m.From)
	l.Place(m.Group, m.To)
	l.Fix(m.Group)
	return m, true
}
