package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta"
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
	members   membersOf
	engine    engine.Options
	logger    *slog.Logger
	onFailure func(error)
	// confirmWithin bounds the questions to leaders of one call of follow; 0 is confirmAllLimit.
	confirmWithin time.Duration

	rebuilds rebuilds // counters

	born chan struct{} // capacity 1: a shard was split here, and follow is to be called

	current atomic.Pointer[pb.ClusterMap] // that follow was given last

	// mu is a leaf: no I/O is done while it is held.
	mu struct {
		sync.RWMutex
		open map[api.ShardID]*shard.Shard
		// fenced are the replicas that rebuildLoop has, or had, in hand. Nobody else opens those that are fenced.
		fenced map[api.ShardID]*fencedReplica
		// troubled are replicas that are not open, or not to be here any more, and why.
		troubled map[replicaKey]string
		// busy are the shards whose replica is being rebuilt or removed.
		busy map[api.ShardID]bool
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

// follow makes the replicas of this node those that m gives to it. It is called from one goroutine. What cannot be done
// now, because a leader has to be asked that does not answer, is pending: follow is called again.
func (r *replicas) follow(ctx context.Context, m *pb.ClusterMap) (pending bool, err error) {
	r.current.Store(m)
	here, err := r.inventory()
	if err != nil {
		return true, err
	}
	pending, err = r.openMissing(ctx, m, here)
	if err != nil {
		return true, err
	}
	r.forgetLost(here, m)
	gone := superfluous(here, m, r.self)
	if len(gone) == 0 {
		return pending, nil
	}
	left, err := r.removeAll(ctx, m, gone)
	if err != nil {
		return true, err
	}
	if here, err = r.inventory(); err != nil {
		return true, err
	}
	waiting, err := r.openMissing(ctx, m, here)
	return left || waiting, err
}

// openMissing opens the replicas that m gives to this node and that are not open yet, unless another
// incarnation of the same is still here. pending says that one waits for the replica that it comes out of.
func (r *replicas) openMissing(ctx context.Context, m *pb.ClusterMap, here map[replicaKey]bool) (pending bool, err error) {
	var group errgroup.Group
	group.SetLimit(maxConcurrentOpens)
	for _, description := range meta.ShardsOf(m) {
		mine := replicaOf(description, r.self)
		if mine == nil {
			continue
		}
		key := replicaKey{api.ShardID(description.Id), mine.Incarnation}
		if s, ok := r.shard(key.shard); ok && s.Options().Incarnation == key.incarnation {
			s.Group().SetPreferredLeader(preferredLeader(description))
			continue
		}
		if r.known(key.shard) || othersHere(here, key) || ctx.Err() != nil {
			continue
		}
		b, err := r.birthOf(description, mine, here)
		switch {
		case err != nil:
			return true, err
		case b == notYet:
			pending = true
		case b == gone:
			r.noteLost(key)
		default:
			group.Go(func() error { return r.open(r.options(description, mine.Incarnation)) })
		}
	}
	return pending, group.Wait()
}

// replicaOf is the replica that a shard has on a node, nil for none.
func replicaOf(s *pb.Shard, node api.NodeID) *pb.Replica {
	for _, replica := range s.GetReplicas() {
		if replica.NodeId == string(node) {
			return replica
		}
	}
	return nil
}

// lost reports whether a replica has had something before: it votes, and the group was not born with it. If nothing of
// it is on the disk then that was lost, and its votes with it (N6).
func lost(s *pb.Shard, mine *pb.Replica) bool {
	return !mine.Learner && !isFounder(s, mine)
}

func isFounder(s *pb.Shard, r *pb.Replica) bool {
	return slices.ContainsFunc(s.Founders, func(f *pb.Replica) bool { return f.NodeId == r.NodeId && f.Incarnation == r.Incarnation })
}

// preferredLeader is the node that should lead a shard: the map says so, or it is the first of its replicas, which
// the plan of a new cluster spreads evenly.
func preferredLeader(s *pb.Shard) api.NodeID {
	if s.PreferredLeader != "" || len(s.Replicas) == 0 {
		return api.NodeID(s.PreferredLeader)
	}
	return api.NodeID(s.Replicas[0].NodeId)
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
	delete(r.mu.troubled, replicaKey{o.ID, o.Incarnation})
	r.mu.Unlock()
	r.logger.Info("replica open", "shard", uint64(o.ID), "incarnation", o.Incarnation)
}

func (r *replicas) options(description *pb.Shard, incarnation uint64) shard.Options {
	var founders []raft.ReplicaID
	for _, v := range description.Founders {
		if description.ParentId != 0 {
			break // the group does not begin with its members alone, see raft.Host.Found
		}
		founders = append(founders, raft.ReplicaID{Node: api.NodeID(v.NodeId), Incarnation: v.Incarnation})
	}
	return shard.Options{
		ID:          api.ShardID(description.Id),
		Incarnation: incarnation,
		Dir:         r.dir + "/" + replicaKey{api.ShardID(description.Id), incarnation}.String(),
		Arc:         router.Arc{Start: description.StartSlot, End: description.EndSlot},
		Epoch:       api.Epoch(description.Epoch),
		Voters:      founders,
		VotesEmpty:  description.ParentId != 0 && isFounder(description, &pb.Replica{NodeId: string(r.self), Incarnation: incarnation}),

		PreferredLeader: preferredLeader(description),
		ClusterVersion:  r.clusterVersion,

		Engine:    r.engine,
		FS:        r.fs,
		Clock:     r.clock,
		Splitter:  splitter{r},
		Peers:     r.peers,
		Logger:    r.logger.With("shard", description.Id),
		OnFailure: r.onFailure,
	}
}

// clusterVersion is what the newest map allows to write.
func (r *replicas) clusterVersion() uint32 { return meta.ClusterVersion(r.current.Load()) }

// close closes every replica, in parallel because each may have something to flush.
func (r *replicas) close() error {
	var group errgroup.Group
	group.SetLimit(maxConcurrentOpens)
	for _, s := range r.all() {
		group.Go(s.Close)
	}
	return group.Wait()
}
