package placement

import (
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/router"
)

const (
	// From five nodes on the cluster map survives two failures.
	fewMetaVoters  = 3
	manyMetaVoters = 5
	// DefaultReplication is how many replicas a shard has: three survive one failure, and more cost
	// every write.
	DefaultReplication = 3
)

// Shard is where a new shard goes.
type Shard struct {
	Arc router.Arc
	// Replicas are distinct; the first is expected to lead.
	Replicas []api.NodeID
}

// Arcs cuts the slots into count arcs of equal size, or larger by one. Count is from 1 to
// api.SlotCount.
func Arcs(count int) []router.Arc {
	arcs := make([]router.Arc, count)
	for i := range arcs {
		arcs[i] = router.Arc{
			Start: uint32(i * api.SlotCount / count),
			End:   uint32((i + 1) * api.SlotCount / count),
		}
	}
	return arcs
}

// Shards puts count shards, with ids from 1, on nodes, which are distinct and at least one. The
// cluster's id salts the scores.
func Shards(cluster string, replication int, nodes []Node, count int) []Shard {
	groups := make([]Group, count)
	for i := range groups {
		groups[i].Key = int64(i) + 1
	}
	shards := make([]Shard, count)
	for i, holders := range place(cluster, replication, nodes, groups) {
		shards[i] = Shard{Arc: Arcs(count)[i], Replicas: holders}
	}
	lead(cluster, nodes, shards)
	return shards
}

// place fills every group and then evens out what the order of filling left. The bounds are tight,
// since nothing has to be copied yet.
func place(cluster string, replication int, nodes []Node, groups []Group) [][]api.NodeID {
	l := newLayout(cluster, replication, nodes, groups, true)
	l.field.size = slices.Repeat([]int64{part(1, int64(max(1, len(groups)*l.replication)))}, len(groups))
	for g := range groups {
		for range l.replication {
			if id, ok := l.Best(g); ok {
				l.Place(g, id)
			}
		}
	}
	l.field.settle(func(t transfer) {
		l.Drop(t.item, l.nodes[t.from].ID)
		l.Place(t.item, l.nodes[t.to].ID)
	})
	out := make([][]api.NodeID, len(groups))
	for g := range groups {
		for _, c := range l.Ranking(g) {
			if c.Rank == Holding {
				out[g] = append(out[g], c.Node)
			}
		}
	}
	return out
}

// lead puts the replica that is to lead first, so that leaders are spread.
func lead(cluster string, nodes []Node, shards []Shard) {
	led := make([]Led, len(shards))
	for i, s := range shards {
		led[i] = Led{Key: int64(i) + 1, Leader: s.Replicas[0], Candidates: s.Replicas}
	}
	l := newLeaders(cluster, nodes, led)
	l.field.settle(func(t transfer) {
		l.field.apply(t)
		replicas := shards[t.item].Replicas
		at := slices.Index(replicas, l.nodes[t.to])
		copy(replicas[1:at+1], replicas[:at])
		replicas[0] = l.nodes[t.to]
	})
}

// MetaVoterCount is how many voters the meta group has among so many nodes.
func MetaVoterCount(nodes int) int {
	if nodes >= manyMetaVoters {
		return manyMetaVoters
	}
	return min(fewMetaVoters, nodes)
}

// MetaVoters chooses the voters of the meta group, sorted. It knows no zones, because founders agree
// on it before they know each other's.
func MetaVoters(cluster string, nodes []api.NodeID) []api.NodeID {
	all := make([]Node, len(nodes))
	for i, id := range nodes {
		all[i] = Node{ID: id}
	}
	voters := strongest(cluster, all, MetaGroup)[:MetaVoterCount(len(nodes))]
	slices.Sort(voters)
	return voters
}
