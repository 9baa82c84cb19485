package placement

import (
	"cmp"
	"slices"

	"github.com/lightning-db/lightning/api"
)

// Rank says how well a node suits the next replica of a group; lower is better.
type Rank int

// The ranks, best first. A node of the last two is not taken.
const (
	// Free: the zone has room and the node is below its share rounded up.
	Free Rank = iota
	// OverShare: the node holds its share.
	OverShare
	// Crowding: the zone holds as many replicas of the group as it should.
	Crowding
	// Refusing: the node takes nothing new.
	Refusing
	// Holding: the node has a replica of the group.
	Holding
)

// String says it in words.
func (r Rank) String() string {
	return [...]string{"free", "holds its share", "zone is used", "takes nothing new", "holds a replica"}[r]
}

// Candidate is a node as seen by a group.
type Candidate struct {
	Node api.NodeID
	Zone string
	// Score is the node's claim to the group by rendezvous hashing; it does not change while the
	// node's weight does not.
	Score int64
	Rank  Rank
	// Replicas are those on the node, of all groups.
	Replicas int
	order    score
	index    int
}

// Ranking lists all nodes, those that suit the next replica of a group best first.
func (l *Layout) Ranking(group int) []Candidate {
	out := make([]Candidate, len(l.nodes))
	for i, n := range l.nodes {
		s := l.score(group, i)
		out[i] = Candidate{Node: n.ID, Zone: n.Zone, Score: s.points(), Rank: l.rank(group, i), Replicas: len(l.field.holds[i]), order: s, index: i}
	}
	slices.SortFunc(out, func(a, b Candidate) int {
		if a.Rank != b.Rank {
			return cmp.Compare(a.Rank, b.Rank)
		}
		if a.Rank == Crowding {
			if c := cmp.Compare(l.inZone(group, l.zoneOf[a.index]), l.inZone(group, l.zoneOf[b.index])); c != 0 {
				return c
			}
		}
		if a.Rank == OverShare || a.Rank == Crowding {
			if c := cmp.Compare(l.overfull(a.index), l.overfull(b.index)); c != 0 {
				return c
			}
		}
		return cmp.Or(-a.order.compare(b.order), cmp.Compare(a.Node, b.Node))
	})
	return out
}

func (l *Layout) rank(group, node int) Rank {
	switch {
	case slices.Contains(l.holders[group], node):
		return Holding
	case l.nodes[node].Closed:
		return Refusing
	case l.inZone(group, l.zoneOf[node]) >= l.limit:
		return Crowding
	case l.overfull(node) > 0:
		return OverShare
	}
	return Free
}

// overfull is by how much one more replica would lift a node above its share rounded up, in
// thousandths of that.
func (l *Layout) overfull(node int) int64 {
	room := (l.field.share[node] + one - 1) / one
	return max(0, int64(len(l.field.holds[node])+1)-room) * 1000 / max(1, room)
}

// Stand is how much a node holds and should hold.
type Stand struct {
	Node api.NodeID
	// Replicas is their number; Share is the fair one in thousandths, by weight and zones.
	Replicas int
	Share    int64
	// Least and Most are the numbers that are tolerated.
	Least, Most int
	// Fill is the load of number, bytes and requests, in thousandths of the fair one.
	Fill int64
}

// Stands lists the nodes by id.
func (l *Layout) Stands() []Stand {
	out := make([]Stand, len(l.nodes))
	for i, n := range l.nodes {
		out[i] = Stand{Node: n.ID, Replicas: len(l.field.holds[i]), Share: l.field.share[i], Least: l.field.low[i], Most: l.field.high[i], Fill: l.field.fill(i)}
	}
	return out
}

// ZoneLimit is how many replicas of one group a zone should hold at most.
func (l *Layout) ZoneLimit() int { return l.limit }

// Holders lists the nodes of a group by id.
func (l *Layout) Holders(group int) []api.NodeID {
	out := make([]api.NodeID, 0, len(l.holders[group]))
	for _, n := range l.holders[group] {
		out = append(out, l.nodes[n].ID)
	}
	slices.Sort(out)
	return out
}
