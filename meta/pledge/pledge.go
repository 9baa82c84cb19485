package pledge

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Pledge is a promise to form one cluster with exactly these nodes.
type Pledge struct {
	ClusterID string
	Nodes     []api.NodeID // sorted, without repetition
	Shards    int
}

// Cluster is the cluster that a node belongs to.
type Cluster struct {
	ID       string
	Founders []api.NodeID // sorted: the nodes that formed it
	Shards   int          // shards it was to begin with
}

// FoundedBy reports whether node is one of the founders.
func (c Cluster) FoundedBy(node api.NodeID) bool { return slices.Contains(c.Founders, node) }

// State is what a node holds. It only grows: nothing of it is ever changed or taken back.
type State struct {
	Node    api.NodeID
	Name    string
	Expect  int
	Pledge  *Pledge  // nil while the node has not pledged
	Cluster *Cluster // nil while the node belongs to no cluster
}

// Store keeps a node's pledge and cluster in its data directory. Safe for concurrent use.
type Store struct{}

// OpenStore reads what dir holds.
func OpenStore(fsys vfs.FS, dir string, self api.NodeID) (*Store, error) {
	return nil, errors.ErrUnsupported
}

// State returns what is durable.
func (s *Store) State() State { return State{} }

// Service answers peers from a Store.
type Service struct{}

// NewService makes the service of peerv1.Bootstrap. It answers before and after the cluster forms.
func NewService(s *Store, name string, expect int) *Service { return nil }

// Register adds the service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) {}

// Seen is a node that gossip shows alive.
type Seen struct {
	Node   api.NodeID
	Expect int
	// Joined is set for a node that says it belongs to a cluster.
	Joined bool
}

// Caller asks other nodes. NewCaller does it by gRPC.
type Caller interface {
	Show(ctx context.Context, node api.NodeID) (State, error)
	Pledge(ctx context.Context, node api.NodeID, p Pledge) (State, error)
}

// NewCaller returns the Caller that uses the control connections of pool.
func NewCaller(pool *peers.Pool) Caller { return nil }

// FormOptions configures Form.
type FormOptions struct {
	Store *Store
	// Expect is --bootstrap-expect: 1 makes a cluster of this node alone, 0 waits for a cluster to join.
	Expect int
	// Shards of a new cluster; 0 means one per founder.
	Shards int
	// Members is the view of gossip, this node included or not.
	Members func() []Seen
	Caller  Caller
	Entropy entropy.Source
	Logger  *slog.Logger
}

// Form returns the cluster that this node belongs to, at once if it already belongs to one, else
// when one has formed or was found. The answer is durable before it returns.
func Form(ctx context.Context, o FormOptions) (Cluster, error) {
	return Cluster{}, errors.ErrUnsupported
}
