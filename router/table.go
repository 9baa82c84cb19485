package router

import (
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// Arc is the slots s with Start <= s < End. It never wraps around.
type Arc struct {
	Start, End uint32
}

// FullArc holds every slot.
var FullArc = Arc{Start: 0, End: api.SlotCount}

// Contains reports whether s lies in the arc.
func (a Arc) Contains(s api.Slot) bool { return a.Start <= uint32(s) && uint32(s) < a.End }

// Validate reports an arc that is empty or leaves the slots.
func (a Arc) Validate() error {
	if a.Start >= a.End || a.End > api.SlotCount {
		return fmt.Errorf("arc %s is not within [0, %d)", a, api.SlotCount)
	}
	return nil
}

// String prints the arc as a half-open interval.
func (a Arc) String() string { return fmt.Sprintf("[%d, %d)", a.Start, a.End) }

// Shard is one shard as the map describes it. Callers must not change it.
type Shard struct {
	ID       api.ShardID
	Arc      Arc
	Epoch    api.Epoch
	Replicas []Replica
}

// Replica is one member of a shard that can lead it: neither learning nor leaving.
type Replica struct {
	Node        api.NodeID
	Incarnation uint64
}

// Table is one revision of the cluster map, made for lookups. Immutable.
type Table struct {
	revision uint64
	source   *pb.ClusterMap
	shards   []Shard             // in map order
	byID     map[api.ShardID]int // index in shards
	nodes    map[api.NodeID]*pb.Node
	slots    [api.SlotCount]uint16 // slot -> index in shards
}

// maxShards is what an index in Table.slots can name; DESIGN foresees hundreds of shards.
const maxShards = 1 << 16

// NewTable builds a table. It fails unless the arcs tile the slots exactly (T1) and ids are
// unique. The map must not be changed afterwards.
func NewTable(m *pb.ClusterMap) (*Table, error) {
	if m == nil {
		return nil, errors.New("build routing table: no cluster map")
	}
	t := &Table{
		revision: m.GetRevision(),
		source:   m,
		byID:     make(map[api.ShardID]int, len(m.GetShards())),
		nodes:    make(map[api.NodeID]*pb.Node, len(m.GetNodes())),
	}
	if err := t.addNodes(m.GetNodes()); err != nil {
		return nil, fmt.Errorf("build routing table of revision %d: %w", t.revision, err)
	}
	if err := t.addShards(m.GetShards()); err != nil {
		return nil, fmt.Errorf("build routing table of revision %d: %w", t.revision, err)
	}
	return t, nil
}

func (t *Table) addNodes(nodes []*pb.Node) error {
	for _, n := range nodes {
		id := api.NodeID(n.GetId())
		if id == "" {
			return errors.New("a node has no id")
		}
		if _, twice := t.nodes[id]; twice {
			return fmt.Errorf("node %s is listed twice", id)
		}
		t.nodes[id] = n
	}
	return nil
}

func (t *Table) addShards(shards []*pb.Shard) error {
	if len(shards) > maxShards {
		return fmt.Errorf("%d shards are more than %d", len(shards), maxShards)
	}
	covered := 0
	var owned [api.SlotCount]bool
	for i, s := range shards {
		shard := Shard{
			ID:    api.ShardID(s.GetId()),
			Arc:   Arc{Start: s.GetStartSlot(), End: s.GetEndSlot()},
			Epoch: api.Epoch(s.GetEpoch()),
		}
		if shard.ID == 0 {
			return errors.New("a shard has no id")
		}
		if _, twice := t.byID[shard.ID]; twice {
			return fmt.Errorf("shard %d is listed twice", shard.ID)
		}
		if err := shard.Arc.Validate(); err != nil {
			return fmt.Errorf("shard %d: %w", shard.ID, err)
		}
		for slot := shard.Arc.Start; slot < shard.Arc.End; slot++ {
			if owned[slot] {
				return fmt.Errorf("slot %d belongs to shard %d and to shard %d", slot, t.shards[t.slots[slot]].ID, shard.ID)
			}
			owned[slot], t.slots[slot] = true, uint16(i)
			covered++
		}
		for _, r := range s.GetReplicas() {
			if r.GetLearner() || r.GetLeaving() {
				continue // it cannot lead, or soon is gone
			}
			shard.Replicas = append(shard.Replicas, Replica{Node: api.NodeID(r.GetNodeId()), Incarnation: r.GetIncarnation()})
		}
		t.byID[shard.ID] = i
		t.shards = append(t.shards, shard)
	}
	if covered != api.SlotCount {
		return fmt.Errorf("%d of %d slots belong to no shard", api.SlotCount-covered, api.SlotCount)
	}
	return nil
}

// Revision is the map's revision.
func (t *Table) Revision() uint64 { return t.revision }

// Map is what the table was built from. Callers must not change it.
func (t *Table) Map() *pb.ClusterMap { return t.source }

// ShardOf finds the shard that owns a slot. The slot must be below api.SlotCount, as every
// result of Slot is.
func (t *Table) ShardOf(s api.Slot) Shard { return t.shards[t.slots[s]] }

// Shard finds a shard by id.
func (t *Table) Shard(id api.ShardID) (Shard, bool) {
	i, ok := t.byID[id]
	if !ok {
		return Shard{}, false
	}
	return t.shards[i], true
}

// Shards lists the shards in map order. Callers must not change the slice.
func (t *Table) Shards() []Shard { return t.shards }

// Node finds a node by id. Callers must not change it.
func (t *Table) Node(id api.NodeID) (*pb.Node, bool) {
	n, ok := t.nodes[id]
	return n, ok
}
