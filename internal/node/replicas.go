package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

// maxConcurrentOpens bounds how many replicas open at once: each does a few fsyncs that can
// overlap, and reads its tables' indexes.
const maxConcurrentOpens = 8

// replicas holds the shard replicas of this node. Safe for concurrent use.
type replicas struct {
	// Set by newReplicas, never written again.
	self      api.NodeID
	dir       string
	fs        vfs.FS
	clock     clock.Clock
	host      *raft.Host
	peers     shard.Peers
	engine    engine.Options
	logger    *slog.Logger
	onFailure func(error)

	rebuilds rebuilds // counters

	// mu is a leaf: no I/O is done while it is held.
	mu struct {
		sync.RWMutex
		open map[api.ShardID]*shard.Shard
		// fenced are the replicas that rebuildLoop has, or had, in hand. Nobody else opens those that are fenced.
		fenced map[api.ShardID]*fencedReplica
	}
}

// shard returns the local replica of a shard.
func (r *replicas) shard(id api.ShardID) (*shard.Shard, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s, ok := r.mu.open[id]
	return s, ok
}

// all returns the open replicas.
func (r *replicas) all() []*shard.Shard {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*shard.Shard, 0, len(r.mu.open))
	for _, s := range r.mu.open {
		list = append(list, s)
	}
	return list
}

// openMissing opens the replicas that m gives to this node and that are not open yet. It is
// called from one goroutine.
func (r *replicas) openMissing(ctx context.Context, m *pb.ClusterMap) error {
	var group errgroup.Group
	group.SetLimit(maxConcurrentOpens)
	for _, description := range m.Shards {
		incarnation, ours := r.incarnation(description)
		if !ours || r.known(api.ShardID(description.Id)) || ctx.Err() != nil {
			continue
		}
		group.Go(func() error { return r.open(r.options(description, incarnation)) })
	}
	return group.Wait()
}

func (r *replicas) incarnation(s *pb.Shard) (uint64, bool) {
	for _, replica := range s.Replicas {
		if replica.NodeId == string(r.self) {
			return replica.Incarnation, true
		}
	}
	return 0, false
}

// known reports whether a replica is open, or fenced.
func (r *replicas) known(id api.ShardID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, isOpen := r.mu.open[id]
	f := r.mu.fenced[id]
	return isOpen || f != nil && f.fenced
}

// open opens a replica; one that is fenced is left to rebuildLoop.
func (r *replicas) open(o shard.Options) error {
	s, err := shard.Open(r.host, o)
	if errors.Is(err, shard.ErrFenced) {
		r.logger.Error("replica not opened", "shard", uint64(o.ID), "incarnation", o.Incarnation, "error", err)
		r.noteFenced(o)
		return nil
	}
	if err != nil {
		return fmt.Errorf("open shard %d: %w", o.ID, err)
	}
	r.opened(o, s)
	return nil
}

func (r *replicas) opened(o shard.Options, s *shard.Shard) {
	r.mu.Lock()
	r.mu.open[o.ID] = s
	r.mu.Unlock()
	r.logger.Info("replica open", "shard", uint64(o.ID), "incarnation", o.Incarnation)
}

func (r *replicas) options(description *pb.Shard, incarnation uint64) shard.Options {
	var voters []raft.ReplicaID
	for _, v := range description.Replicas {
		voters = append(voters, raft.ReplicaID{Node: api.NodeID(v.NodeId), Incarnation: v.Incarnation})
	}
	return shard.Options{
		ID:          api.ShardID(description.Id),
		Incarnation: incarnation,
		Dir:         r.dir + "/" + strconv.FormatUint(description.Id, 10) + "-" + strconv.FormatUint(incarnation, 10),
		Arc:         router.Arc{Start: description.StartSlot, End: description.EndSlot},
		Epoch:       api.Epoch(description.Epoch),
		Voters:      voters,
		// The plan of a new cluster gives each node the first place of as many shards as any other.
		PreferredLeader: voters[0].Node,
		Engine:          r.engine,
		FS:              r.fs,
		Clock:           r.clock,
		Peers:           r.peers,
		Logger:          r.logger.With("shard", description.Id),
		OnFailure:       r.onFailure,
	}
}

// close closes every replica, in parallel because each may have something to flush.
func (r *replicas) close() error {
	var group errgroup.Group
	group.SetLimit(maxConcurrentOpens)
	for _, s := range r.all() {
		group.Go(s.Close)
	}
	return group.Wait()
}
