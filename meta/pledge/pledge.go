package pledge

import (
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
)

// MaxFounders bounds a pledge, and so --bootstrap-expect: each founder asks each other one several
// times a second. A larger cluster forms with fewer and lets the others join.
const MaxFounders = 64

// maxShards bounds the shards that a cluster begins with; hundreds are the most it is meant for.
const maxShards = 1024

// Pledge is a promise to form one cluster with exactly these nodes.
type Pledge struct {
	ClusterID string
	Nodes     []api.NodeID // sorted, without repetition
	Shards    int
}

// Validate reports a pledge that nobody may take.
func (p Pledge) Validate() error {
	switch {
	case p.ClusterID == "":
		return fmt.Errorf("pledge without a cluster id")
	case len(p.Nodes) == 0 || len(p.Nodes) > MaxFounders:
		return fmt.Errorf("pledge of %d nodes, allowed are 1 to %d", len(p.Nodes), MaxFounders)
	case p.Shards < 1 || p.Shards > maxShards:
		return fmt.Errorf("pledge of %d shards, allowed are 1 to %d", p.Shards, maxShards)
	}
	for i, node := range p.Nodes {
		if node == "" || i > 0 && p.Nodes[i-1] >= node {
			return fmt.Errorf("nodes of the pledge are not sorted and distinct: %q", p.Nodes)
		}
	}
	return nil
}

// Equal reports whether both promise the same.
func (p Pledge) Equal(q Pledge) bool {
	return p.ClusterID == q.ClusterID && p.Shards == q.Shards && slices.Equal(p.Nodes, q.Nodes)
}

// Names reports whether node is one of the pledge's.
func (p Pledge) Names(node api.NodeID) bool { return slices.Contains(p.Nodes, node) }

// cluster is what forms when every node holds p.
func (p Pledge) cluster() Cluster {
	return Cluster{ID: p.ClusterID, Founders: p.Nodes, Shards: p.Shards}
}

// Cluster is the cluster that a node belongs to.
type Cluster struct {
	ID       string
	Founders []api.NodeID // sorted: the nodes that formed it
	Shards   int          // shards it was to begin with
}

// FoundedBy reports whether node is one of the founders.
func (c Cluster) FoundedBy(node api.NodeID) bool { return slices.Contains(c.Founders, node) }

// State is what a node holds, durably. It only grows: nothing of it is ever changed or taken back.
type State struct {
	Node    api.NodeID
	Name    string
	Expect  int
	Pledge  *Pledge  // nil while the node has not pledged
	Cluster *Cluster // nil while the node belongs to no cluster
}

// The same on the wire and on disk.

func (p Pledge) record() *peerv1.PledgeRecord {
	return &peerv1.PledgeRecord{ClusterId: p.ClusterID, NodeIds: texts(p.Nodes), ShardCount: uint32(p.Shards)}
}

func pledgeOf(r *peerv1.PledgeRecord) Pledge {
	return Pledge{ClusterID: r.GetClusterId(), Nodes: nodeIDs(r.GetNodeIds()), Shards: int(r.GetShardCount())}
}

func (c Cluster) record() *peerv1.ClusterRecord {
	return &peerv1.ClusterRecord{ClusterId: c.ID, FounderIds: texts(c.Founders), ShardCount: uint32(c.Shards)}
}

func clusterOf(r *peerv1.ClusterRecord) Cluster {
	return Cluster{ID: r.GetClusterId(), Founders: nodeIDs(r.GetFounderIds()), Shards: int(r.GetShardCount())}
}

func (s State) message() *peerv1.BootstrapState {
	m := &peerv1.BootstrapState{NodeId: string(s.Node), Name: s.Name, Expect: uint32(s.Expect)}
	if s.Pledge != nil {
		m.Pledge = s.Pledge.record()
	}
	if s.Cluster != nil {
		m.Cluster = s.Cluster.record()
	}
	return m
}

func stateOf(m *peerv1.BootstrapState) State {
	s := State{Node: api.NodeID(m.GetNodeId()), Name: m.GetName(), Expect: int(m.GetExpect())}
	if m.GetPledge() != nil {
		p := pledgeOf(m.GetPledge())
		s.Pledge = &p
	}
	if m.GetCluster() != nil {
		c := clusterOf(m.GetCluster())
		s.Cluster = &c
	}
	return s
}

func texts(nodes []api.NodeID) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = string(n)
	}
	return out
}

func nodeIDs(texts []string) []api.NodeID {
	out := make([]api.NodeID, len(texts))
	for i, t := range texts {
		out[i] = api.NodeID(t)
	}
	return out
}
