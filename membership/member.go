package membership

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
)

// Stage says how far a node is on its way into a cluster.
type Stage uint8

// The stages.
const (
	Empty   Stage = iota // holds nothing
	Pledged              // has promised to form one cluster, which has not formed yet
	Joined               // belongs to a cluster, see Info.Cluster
)

// String names the stage.
func (s Stage) String() string {
	switch s {
	case Empty:
		return "empty"
	case Pledged:
		return "pledged"
	case Joined:
		return "member"
	}
	return fmt.Sprintf("stage %d", uint8(s))
}

// Info is what a node tells the others about itself. All of it is advice.
type Info struct {
	Node api.NodeID
	Name string
	// Addresses are host:port.
	GRPCAddress string
	RESPAddress string
	HTTPAddress string
	// RESPClusterAddress is where cluster-aware Redis clients connect, empty without that listener.
	RESPClusterAddress string
	Zone               string
	// Expect is the node's --bootstrap-expect; 0 for a node that only joins.
	Expect int
	Stage  Stage
	// Cluster is the id of the cluster that the node belongs to, empty before Joined.
	Cluster string
	// Restarting announces that the process stops and is expected back: Leave sets it.
	Restarting bool
}

// Liveness is what gossip believes about a node.
type Liveness string

// The liveness values, as the public status shows them.
const (
	Alive   Liveness = "alive"
	Dead    Liveness = "dead"    // stopped answering
	Left    Liveness = "left"    // said that it restarts
	Unknown Liveness = "unknown" // never seen, or forgotten
)

// Member is one node as gossip last saw it.
type Member struct {
	Info
	// GossipAddress is where its gossip came from.
	GossipAddress string
	// Boot tells one start of the node's process from another; a later start has a larger one
	// unless the node's clock went back.
	Boot     uint64
	Liveness Liveness
}

// Kind is what an Event reports.
type Kind string

// The kinds.
const (
	NodeJoined    Kind = "joined"    // seen for the first time, or again after it was dead or had left
	NodeUpdated   Kind = "updated"   // told something new about itself
	NodeRestarted Kind = "restarted" // another process of a node that was never missed: the earlier one is gone
	NodeDied      Kind = "dead"
	NodeLeft      Kind = "left"
)

// Event is one change of a node, by comparison with the event about it that was taken before:
// a reader that is slow sees fewer events, never an older truth.
type Event struct {
	Kind   Kind
	Member Member
}

// Known is what the cluster map says about where a node is.
type Known struct {
	Node          api.NodeID
	GRPCAddress   string
	GossipAddress string
}
