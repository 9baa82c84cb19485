package node

import (
	"context"
	"errors"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/shard"
)

// rebuildInterval is between two looks for fenced replicas, and so between two tries to rebuild one. What
// fences a replica again and again costs a checkpoint in that time.
const rebuildInterval = 10 * time.Second

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
		for _, o := range r.findFenced() {
			if ctx.Err() == nil {
				r.rebuild(ctx, o)
			}
		}
	}
}

func (r *replicas) noteFenced(o shard.Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.fenced == nil {
		r.mu.fenced = make(map[api.ShardID]shard.Options)
	}
	r.mu.fenced[o.ID] = o
}

// findFenced are the replicas that are fenced, whether they were so when they were to be opened or not.
func (r *replicas) findFenced() []shard.Options {
	for _, s := range r.all() {
		if s.Fenced() {
			r.noteFenced(s.Options())
		}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]shard.Options, 0, len(r.mu.fenced))
	for _, o := range r.mu.fenced {
		list = append(list, o)
	}
	return list
}

// rebuild rebuilds one replica and opens it. What goes wrong is tried again later: the shard goes on
// without this replica.
func (r *replicas) rebuild(ctx context.Context, o shard.Options) {
	logger := r.logger.With("shard", uint64(o.ID))
	replacement, err := shard.FetchReplacement(ctx, r.self, o)
	_, isOpen := r.shard(o.ID)
	switch {
	case errors.Is(err, shard.ErrNotFenced) && !isOpen:
		// An earlier try came as far as that.
	case err != nil:
		logger.Warn("the fenced replica is not rebuilt yet", "error", err)
		return
	default:
		if err := r.replace(o, replacement); err != nil {
			logger.Warn("the fenced replica is not rebuilt yet", "error", err)
			return
		}
	}
	// Until it is open nobody else is to open it.
	if err := r.open(o); err != nil {
		logger.Error("the rebuilt replica is not open yet", "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mu.fenced, o.ID)
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
