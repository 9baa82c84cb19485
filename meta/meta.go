package meta

import (
	"context"
	"errors"
	"log/slog"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
)

// Options configures Open.
type Options struct {
	// Dir is the directory of the meta replica's state, meta/ in the data directory.
	Dir     string
	FS      vfs.FS
	Self    api.NodeID
	Cluster pledge.Cluster
	Logger  *slog.Logger
}

// HasReplica reports whether node holds a replica of the meta group of cluster c.
func HasReplica(c pledge.Cluster, node api.NodeID) bool { return false }

// Meta is this node's replica of the meta group. Safe for concurrent use.
type Meta struct{}

// Open opens the state in o.Dir and starts the group. HasReplica must be true.
func Open(host *raft.Host, o Options) (*Meta, error) { return nil, errors.ErrUnsupported }

// Map is the cluster map as applied here; nil before the cluster is initialised. Callers must not
// change it.
func (m *Meta) Map() *pb.ClusterMap { return nil }

// RegisterNode puts node into the map or updates its entry. Only the leader can; other replicas
// answer NOT_LEADER with a hint. *KnownNameError and *WrongClusterError refuse for good.
func (m *Meta) RegisterNode(ctx context.Context, node *pb.Node) error { return nil }

// Leader is the master as this replica believes; empty when unknown.
func (m *Meta) Leader() api.NodeID { return "" }

// Group is the Raft group, for status.
func (m *Meta) Group() *raft.Group { return nil }

// Close stops the group and writes what was applied.
func (m *Meta) Close() error { return nil }
