package recovery

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/raft"
)

const viewFormat = 1

// View is what the data directory of one node holds.
type View struct {
	Format  int    `json:"format"`
	Node    string `json:"node"`
	Cluster string `json:"cluster"`
	// Replicas of shards and of the map, whose group is 0, by group and incarnation.
	Replicas []Replica `json:"replicas"`
	// SeenMap is the cluster map that the node saw last: a lightningv1.ClusterMap. Empty for none.
	SeenMap []byte `json:"seen_map,omitempty"`
}

// Replica is one replica on a node.
type Replica struct {
	Group       uint64 `json:"group"`
	Incarnation uint64 `json:"incarnation"`
	// Last and Term are those of the last entry that it has, 0 for none.
	Last uint64 `json:"last"`
	Term uint64 `json:"term"`
	// CurrentTerm is the newest that it has heard of.
	CurrentTerm uint64 `json:"current_term"`
	// Members are those of the newest configuration that it has.
	Members []Member `json:"members"`
	// Epoch is that of the shard after the last entry, 0 for the map and for a shard that has none yet.
	Epoch uint64 `json:"epoch,omitempty"`
	// Children are the shards that entries which the state does not hold yet split off.
	Children []uint64 `json:"children,omitempty"`
	// State is the state of the map after the last entry: a peerv1.MetaState.
	State []byte `json:"state,omitempty"`
	// Trouble says why the replica cannot be used, empty if it can.
	Trouble string `json:"trouble,omitempty"`
}

// Member is a member of a group.
type Member struct {
	Node        string `json:"node"`
	Incarnation uint64 `json:"incarnation"`
	Voter       bool   `json:"voter"`
}

func membersOf(c raft.Configuration) []Member {
	members := make([]Member, len(c.Servers))
	for i, s := range c.Servers {
		members[i] = Member{Node: string(s.Replica.Node), Incarnation: s.Replica.Incarnation, Voter: s.Voter}
	}
	return members
}

// ParseView reads a view as JSON.
func ParseView(data []byte) (*View, error) {
	var v View
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("read what was collected: %w", err)
	}
	if v.Format != viewFormat || v.Node == "" {
		return nil, fmt.Errorf("what was collected has format %d, this version reads format %d", v.Format, viewFormat)
	}
	return &v, nil
}

// digest changes with everything that a node which is started alone does not change: it may stand for election, and hear of maps.
func (v *View) digest() (string, error) {
	same := *v
	same.SeenMap, same.Replicas = nil, slices.Clone(v.Replicas)
	for i := range same.Replicas {
		same.Replicas[i].CurrentTerm = 0
	}
	return digest(&same)
}

// digest is a checksum of v as JSON.
func digest(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
