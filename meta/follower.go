package meta

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/pledge"
)

// FollowerOptions configures OpenFollower. All fields are required.
type FollowerOptions struct {
	// Dir is the data directory; the follower keeps the file `map` there.
	Dir   string
	FS    vfs.FS
	Self  api.NodeID
	Peers *peers.Pool
	// Members lists the nodes that gossip shows alive.
	Members func() []api.NodeID
	Logger  *slog.Logger
}

// Follower knows the current cluster map on any node: from the local meta replica or, on a node
// without one, by asking peers. Safe for concurrent use.
type Follower struct{}

// OpenFollower reads the map that was seen last. Nothing runs until Start.
func OpenFollower(o FollowerOptions) (*Follower, error) { return nil, errors.ErrUnsupported }

// RegisterServices adds peerv1.Meta, which answers NOT_READY until Start.
func (f *Follower) RegisterServices(r grpc.ServiceRegistrar) {}

// Start begins to follow. local is nil on a node without a meta replica.
func (f *Follower) Start(c pledge.Cluster, local *Meta) {}

// Map is the newest map known; nil if none is. Callers must not change it.
func (f *Follower) Map() *pb.ClusterMap { return nil }

// Wait returns a map whose revision is above after, when there is one.
func (f *Follower) Wait(ctx context.Context, after uint64) (*pb.ClusterMap, error) { return nil, nil }

// Subscribe has fn called with the current map, if there is one, and with each newer one, in order,
// skipping what is overtaken. Calls come from one goroutine for all subscribers, so fn must be quick.
func (f *Follower) Subscribe(fn func(*pb.ClusterMap)) (cancel func()) { return nil }

// Master is the leader of the meta group as far as this node knows; empty when unknown.
func (f *Follower) Master() api.NodeID { return "" }

// Address is where the map says that node's gRPC is.
func (f *Follower) Address(node api.NodeID) (string, bool) { return "", false }

// Register has the leader of the meta group put node into the map, trying every peer known until
// ctx ends. *KnownNameError and *WrongClusterError end it for good.
func (f *Follower) Register(ctx context.Context, node *pb.Node) error { return nil }

// Close stops following and waits for the goroutines.
func (f *Follower) Close() error { return nil }
