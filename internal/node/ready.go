package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
)

// readiness remembers what is asked once only. Without that all nodes would stop to be ready together when a majority is lost, and nobody
// would reach those that are left, to read what may be stale or to repair.
type readiness struct {
	// mu is held while leaders are asked; who finds it taken does not wait.
	mu       sync.Mutex
	caughtUp map[api.ShardID]bool
	once     bool // everything was ready
}

// readyTime is how long leaders may be asked within a probe: less than what the probe of the manifests may take.
const readyTime = 2 * time.Second

// ready says whether the node should get requests. Once its replicas have caught up after the start of the process it stays so, whatever becomes
// of other nodes, until it stops or its disk fails.
func (n *node) ready() error {
	if n.leaving.Load() {
		return errors.New("the node is stopping")
	}
	if err := n.storageError(); err != nil {
		return fmt.Errorf("storage failed: %w", err)
	}
	r := &n.readiness
	if !r.mu.TryLock() {
		return errors.New("the replicas are being asked whether they have caught up")
	}
	defer r.mu.Unlock()
	if r.once {
		return nil
	}
	if err := n.readyFirst(); err != nil {
		return err
	}
	r.once, r.caughtUp = true, nil
	return nil
}

// readyFirst is ready while the node has not been so. The caller holds the lock.
func (n *node) readyFirst() error {
	if reason := n.waiting.Load(); reason != nil && *reason != "" {
		return errors.New(*reason)
	}
	if err := n.server.Ready(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	for _, s := range n.router.Table().Shards() {
		for _, replica := range s.Replicas {
			if replica.Node != n.id || n.readiness.caughtUp[s.ID] {
				continue
			}
			if err := n.server.CaughtUp(ctx, s.ID); err != nil {
				return fmt.Errorf("shard %d has not caught up: %w", s.ID, err)
			}
			if n.readiness.caughtUp == nil {
				n.readiness.caughtUp = make(map[api.ShardID]bool)
			}
			n.readiness.caughtUp[s.ID] = true
		}
	}
	return nil
}
