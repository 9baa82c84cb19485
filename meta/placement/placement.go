package placement

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/router"
)

const (
	// maxReplicas is the replication factor: three survive one failure, and more cost every write.
	maxReplicas = 3
	// From five nodes on the cluster map survives two failures.
	fewMetaVoters  = 3
	manyMetaVoters = 5
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

// Shards puts count shards on nodes, which are distinct and at least one. The cluster's id salts
// the weights.
func Shards(cluster string, nodes []api.NodeID, count int) []Shard {
	shards := make([]Shard, count)
	load := make(map[api.NodeID]int, len(nodes))
	for i, arc := range Arcs(count) {
		byWeight := ranked(cluster, nodes, i)
		slices.SortStableFunc(byWeight, func(a, b api.NodeID) int { return cmp.Compare(load[a], load[b]) })
		replicas := byWeight[:min(maxReplicas, len(byWeight))]
		for _, node := range replicas {
			load[node]++
		}
		shards[i] = Shard{Arc: arc, Replicas: replicas}
	}
	for i, first := range firsts(shards, len(nodes)) {
		replicas := shards[i].Replicas
		at := slices.Index(replicas, first)
		copy(replicas[1:at+1], replicas[:at])
		replicas[0] = first
	}
	return shards
}

// MetaVoters chooses the voters of the meta group, sorted.
func MetaVoters(cluster string, nodes []api.NodeID) []api.NodeID {
	count := fewMetaVoters
	if len(nodes) >= manyMetaVoters {
		count = manyMetaVoters
	}
	const metaGroup = -1 // no shard's number
	voters := ranked(cluster, nodes, metaGroup)
	voters = voters[:min(count, len(voters))]
	slices.Sort(voters)
	return voters
}

// ranked lists nodes by their weight for a shard, heaviest first.
func ranked(cluster string, nodes []api.NodeID, shard int) []api.NodeID {
	out := slices.Clone(nodes)
	slices.SortFunc(out, func(a, b api.NodeID) int {
		if c := cmp.Compare(weight(cluster, b, shard), weight(cluster, a, shard)); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
	return out
}

// weight is FNV-1a over its arguments, finished by the mixer of SplitMix64, since FNV alone hardly
// spreads a change of the last byte to the high bits that decide.
func weight(cluster string, node api.NodeID, shard int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(cluster + "\x00" + string(node) + "\x00" + strconv.Itoa(shard)))
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// firsts chooses one replica of each shard so that no node is chosen more than once more often
// than another (L4). Each node takes count/nodes shards first, then the rest is spread. By Hall's
// theorem both steps succeed, since the replicas themselves are balanced.
func firsts(shards []Shard, nodes int) []api.NodeID {
	m := matching{shards: shards, first: make([]api.NodeID, len(shards)), held: make(map[api.NodeID][]int)}
	for _, limit := range []int{len(shards) / nodes, (len(shards) + nodes - 1) / nodes} {
		m.limit = limit
		for i := range shards {
			if m.first[i] == "" {
				m.augment(i, make(map[api.NodeID]bool))
			}
		}
	}
	return m.first
}

// matching is Kuhn's algorithm for bipartite matching, with room for limit shards at each node.
type matching struct {
	shards []Shard
	limit  int
	first  []api.NodeID
	held   map[api.NodeID][]int // shards by the node chosen for them
}

// augment finds a first replica for a shard, moving other shards to other replicas of theirs where
// that makes room. Tried holds the nodes that this search has been at.
func (m *matching) augment(shard int, tried map[api.NodeID]bool) bool {
	for _, node := range m.shards[shard].Replicas {
		if tried[node] {
			continue
		}
		tried[node] = true
		if len(m.held[node]) < m.limit {
			m.held[node] = append(m.held[node], shard)
			m.first[shard] = node
			return true
		}
		for at, other := range m.held[node] {
			if m.augment(other, tried) {
				m.held[node][at] = shard
				m.first[shard] = node
				return true
			}
		}
	}
	return false
}
