package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/shard"
)

const (
	// rebuildInterval is between two looks for fenced replicas, and so between two tries to write down that one is.
	rebuildInterval = 10 * time.Second
	// maxRebuildDelay is the longest time between two tries to rebuild a replica. Each may cost a checkpoint,
	// so that the time doubles from rebuildInterval on, and after it what was made room for may be there.
	maxRebuildDelay = 10 * time.Minute
	// rebuildMemory is how long a replica must have been well to be rebuilt at once again: what is fenced again
	// and again for what its node does to it costs no more than what cannot be rebuilt.
	rebuildMemory = time.Hour
)

// fencedReplica is a replica that is fenced, or was not long ago. Owned by rebuildLoop, but for what
// replicas.mu guards.
type fencedReplica struct {
	options shard.Options
	marked  bool      // on disk
	tries   int       // to rebuild it, those that came to nothing and those after which it was fenced again
	next    time.Time // when the next may begin

	fenced  bool   // false for one that was; guarded by replicas.mu
	trouble string // why it is still; guarded by replicas.mu
}

// rebuildLoop rebuilds replicas that are fenced from the others of their shards, one after the other, until
// ctx ends.
func (r *replicas) rebuildLoop(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for _, f := range r.findFenced() {
			if ctx.Err() == nil {
				r.maybeRebuild(ctx, f)
			}
		}
	}
}

func (r *replicas) noteFenced(o shard.Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.fenced == nil {
		r.mu.fenced = make(map[api.ShardID]*fencedReplica)
	}
	f := r.mu.fenced[o.ID]
	switch {
	case f == nil:
		f = &fencedReplica{}
		r.mu.fenced[o.ID] = f
	case f.fenced:
		return
	case time.Since(f.next) > rebuildMemory:
		f.tries, f.next = 0, time.Time{}
	}
	f.options, f.fenced, f.marked, f.trouble = o, true, false, ""
}

// findFenced are the replicas that are fenced, whether they were so when they were to be opened or not.
func (r *replicas) findFenced() []*fencedReplica {
	for _, s := range r.all() {
		if s.Fenced() {
			r.noteFenced(s.Options())
		}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	var list []*fencedReplica
	for _, f := range r.mu.fenced {
		if f.fenced {
			list = append(list, f)
		}
	}
	return list
}

// maybeRebuild rebuilds a replica if it is time to. What goes wrong is tried again later, less and less often: the
// shard goes on without this replica. It is logged once, and in the replica's status as long as it lasts.
func (r *replicas) maybeRebuild(ctx context.Context, f *fencedReplica) {
	if !r.claim(f.options.ID) {
		return // it is being removed
	}
	defer r.unclaim(f.options.ID)
	r.mu.RLock()
	gone := r.mu.fenced[f.options.ID] != f
	r.mu.RUnlock()
	if gone {
		return
	}
	err := r.mark(f)
	if err == nil {
		if time.Now().Before(f.next) {
			return
		}
		r.rebuilds.tries.Add(1)
		err = r.rebuild(ctx, f.options)
		f.next = time.Now().Add(min(rebuildInterval<<min(f.tries, 10), maxRebuildDelay))
		f.tries++
		if err != nil {
			r.rebuilds.failures.Add(1)
		}
	}
	r.mu.Lock()
	first := f.trouble == ""
	if f.fenced = err != nil; f.fenced {
		f.trouble = err.Error()
	}
	r.mu.Unlock()
	if err != nil && first && ctx.Err() == nil {
		r.logger.Error("the fenced replica is not rebuilt yet; its status says why as long as it is not", "shard", uint64(f.options.ID), "error", err)
	}
}

// mark makes sure that a replica which is open is fenced after a restart as well. Nothing is fetched for it before.
func (r *replicas) mark(f *fencedReplica) error {
	s, isOpen := r.shard(f.options.ID)
	if !isOpen || f.marked {
		return nil
	}
	err := s.MarkFenced()
	f.marked = err == nil
	return err
}

// rebuild rebuilds one replica and opens it. Until it is open nobody else is to open it.
func (r *replicas) rebuild(ctx context.Context, o shard.Options) error {
	replacement, err := shard.FetchReplacement(ctx, r.self, o, r.nodesWith(r.current.Load(), o.ID))
	_, isOpen := r.shard(o.ID)
	switch {
	case errors.Is(err, shard.ErrNotFenced) && !isOpen:
		// An earlier try came as far as that.
	case err != nil:
		return err
	default:
		if err := r.replace(o, replacement); err != nil {
			return err
		}
	}
	s, err := shard.Open(r.host, o)
	if err != nil {
		return fmt.Errorf("open the rebuilt replica: %w", err)
	}
	r.opened(o, s)
	return nil
}

// replace closes a fenced replica and puts a replacement in its place.
func (r *replicas) replace(o shard.Options, replacement shard.Replacement) error {
	r.mu.Lock()
	s := r.mu.open[o.ID]
	delete(r.mu.open, o.ID)
	r.mu.Unlock()
	if s != nil {
		if err := s.Close(); err != nil {
			r.logger.Warn("closing the fenced replica", "shard", uint64(o.ID), "error", err)
		}
	}
	return shard.Rebuild(r.host, o, replacement)
}

// status describes the replicas: those that are open, and those that are fenced and not open.
func (r *replicas) status() []*pb.ReplicaStatus {
	var list []*pb.ReplicaStatus
	for _, s := range r.all() {
		list = append(list, s.Status())
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for id, f := range r.mu.fenced {
		if !f.fenced {
			continue
		}
		if _, isOpen := r.mu.open[id]; !isOpen {
			list = append(list, &pb.ReplicaStatus{ShardId: uint64(id), Role: "fenced", Trouble: shard.ErrFenced.Error()})
		}
		for _, s := range list {
			if s.ShardId == uint64(id) && f.trouble != "" {
				s.Trouble += "; not rebuilt yet: " + f.trouble
			}
		}
	}
	return r.withTroubledLocked(list)
}

// withTroubledLocked adds what is known of replicas that are not open, or that are to go.
func (r *replicas) withTroubledLocked(list []*pb.ReplicaStatus) []*pb.ReplicaStatus {
	for k, trouble := range r.mu.troubled {
		if at := slices.IndexFunc(list, func(s *pb.ReplicaStatus) bool { return s.ShardId == uint64(k.shard) }); at >= 0 {
			list[at].Trouble = cmp.Or(list[at].Trouble, trouble)
			continue
		}
		list = append(list, &pb.ReplicaStatus{ShardId: uint64(k.shard), Role: "stopped", Trouble: trouble})
	}
	return list
}

// rebuilds counts what rebuildLoop does.
type rebuilds struct {
	tries, failures atomic.Uint64
}

func (r *rebuilds) collectors() []prometheus.Collector {
	counter := func(name, help string, value *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value.Load()) })
	}
	return []prometheus.Collector{
		counter("lightning_replica_rebuilds_total", "Tries to rebuild a fenced replica from the others of its shard.", &r.tries),
		counter("lightning_replica_rebuild_failures_total", "Of these, those after which the replica was still fenced.", &r.failures),
	}
}
