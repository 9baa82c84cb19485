package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/raft"
)

// mover changes the members of the shards while faults come: it takes a replica out, has its node delete it, and puts an
// empty one of another incarnation in its place. It stands in for the master and for the part of the map
// that the master writes.
type mover struct {
	c      *Cluster
	rng    *rand.Rand
	done   int // moves
	orders orders
}

// orders are given while faults come, some with little time, as by a master that another one takes the place of.
type orders struct {
	mu   sync.Mutex
	last error // of the latest
}

// try gives an order once.
func (o *orders) try(rng *rand.Rand, do func(context.Context) error) error {
	patience := 5 * time.Second
	if rng.IntN(3) == 0 {
		patience = time.Duration(rng.Int64N(int64(200 * time.Millisecond)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := do(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = err
	return err
}

// end waits until what was begun last is finished, without faults.
func (o *orders) end(c *Cluster, over <-chan struct{}, what string) error {
	select {
	case <-over:
		return nil
	case <-time.After(liveLimit):
		c.closing.Store(true)
		<-over
		o.mu.Lock()
		defer o.mu.Unlock()
		return fmt.Errorf("%s %v after the faults: %w", what, liveLimit, o.last)
	}
}

// assignments are the incarnations that differ from those of the map.
type assignments struct {
	mu   sync.Mutex
	of   map[assigned]uint64 // 0 for none
	last uint64
}

type assigned struct {
	shard api.ShardID
	node  api.NodeID
}

// incarnation is that of a node's replica of a shard, 0 if it has none.
func (a *assignments) incarnation(s *pb.Shard, node api.NodeID) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n, ok := a.of[assigned{api.ShardID(s.Id), node}]; ok {
		return n
	}
	for _, r := range s.Replicas {
		if r.NodeId == string(node) {
			return r.Incarnation
		}
	}
	return 0
}

// set gives a node another incarnation, or none.
func (a *assignments) set(id api.ShardID, node api.NodeID, another bool) (incarnation uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of, a.last = make(map[assigned]uint64), 1
	}
	if another {
		a.last++
		incarnation = a.last
	}
	a.of[assigned{id, node}] = incarnation
	return incarnation
}

// run moves replicas until ctx ends. A move that has begun is finished.
func (m *mover) run(ctx context.Context) {
	for {
		wait(ctx, m.c.plan.Calm/2+time.Duration(m.rng.Int64N(int64(m.c.plan.Calm))))
		if ctx.Err() != nil {
			return
		}
		if !m.move() {
			return
		}
		m.done++
	}
}

// ends waits until the move that was begun last is finished.
func (m *mover) ends(moved <-chan struct{}) error {
	return m.orders.end(m.c, moved, "a replica is not replaced")
}

// move replaces the replica of one shard on one node; false if the history is over.
func (m *mover) move() bool {
	id := api.ShardID(1 + m.rng.IntN(m.c.plan.Shards))
	node := m.c.Nodes[m.rng.IntN(len(m.c.Nodes))]
	s := m.description(id)
	if s == nil {
		return true
	}
	old := raft.ReplicaID{Node: node.id, Incarnation: m.c.assignments.incarnation(s, node.id)}
	if old.Incarnation == 0 {
		return true // of five nodes, two have no replica
	}
	keep := len(s.Replicas)/2 + 1
	if !m.order(id, func(ctx context.Context, g *raft.Group) error {
		_, err := g.Remove(ctx, old, 0, keep)
		return err
	}) {
		return false
	}
	// The node may have been told of the new one only, as one that skips a map.
	if m.rng.IntN(2) == 0 {
		m.c.assignments.set(id, node.id, false)
		node.poke()
		pass(m.c.plan.Calm / 4)
	}
	fresh := raft.ReplicaID{Node: node.id, Incarnation: m.c.assignments.set(id, node.id, true)}
	node.poke()
	return m.order(id, func(ctx context.Context, g *raft.Group) error {
		_, err := g.AddLearner(ctx, fresh, 0)
		return err
	}) && m.order(id, func(ctx context.Context, g *raft.Group) error {
		_, err := g.Promote(ctx, fresh, 0)
		return err
	}) && m.settled(id, fresh, len(s.Replicas))
}

// order gives an order to whoever leads until it is carried out. Some are given up early and given again, as by a master
// that takes the place of another.
func (m *mover) order(id api.ShardID, do func(context.Context, *raft.Group) error) bool {
	for !m.c.closing.Load() {
		for _, s := range m.c.replicas(id) {
			if !s.Group().IsReadyLeader() {
				continue
			}
			err := m.orders.try(m.rng, func(ctx context.Context) error { return do(ctx, s.Group()) })
			var e *api.Error
			switch {
			case err == nil:
				return true
			case !errors.As(err, &e):
				m.c.violate("an order on the members of shard %d: an error of type %T: %v", id, err, err)
			case errors.Is(err, api.ErrInvalid):
				m.c.violate("an order on the members of shard %d: %v", id, err)
			}
		}
		pass(50 * time.Millisecond)
	}
	return false
}

// settled looks whether the members are those of the assignments.
func (m *mover) settled(id api.ShardID, fresh raft.ReplicaID, count int) bool {
	return m.order(id, func(ctx context.Context, g *raft.Group) error {
		now, err := g.Membership(ctx)
		if err != nil {
			return err
		}
		voters := now.Configuration.Voters()
		if len(voters) != count || len(now.Configuration.Servers) != len(voters) || !slices.Contains(voters, fresh) {
			m.c.violate("the members of shard %d are %v after %s took part", id, now.Configuration, fresh)
		}
		return nil
	})
}

func (m *mover) description(id api.ShardID) *pb.Shard {
	for _, n := range m.c.Nodes {
		if l := n.current(); l != nil {
			for _, s := range l.follower.Map().GetShards() {
				if s.Id == uint64(id) {
					return s
				}
			}
		}
	}
	return nil
}

// poke has a node look at the assignments.
func (n *Node) poke() {
	if l := n.current(); l != nil {
		wake(l.poked)
	}
}

// discardOthers deletes the replicas of a shard that are on the disk of a node and not assigned to it.
func (l *life) discardOthers(id api.ShardID, keep uint64) error {
	names, err := l.fs.List("shards")
	if err != nil {
		return nil // none was opened yet
	}
	for _, name := range names {
		var shard, incarnation uint64
		if n, err := fmt.Sscanf(name, "%d-%d", &shard, &incarnation); err != nil || n != 2 || shard != uint64(id) || incarnation == keep {
			continue
		}
		if s, ok := l.shard(id); ok && s.Options().Incarnation == incarnation {
			l.mu.Lock()
			delete(l.shards, id)
			l.mu.Unlock()
			if err := s.Close(); err != nil {
				return err
			}
		}
		if err := l.host.Discard(raft.GroupID(id), incarnation); err != nil {
			return err
		}
		if err := errors.Join(l.fs.RemoveAll("shards/"+name), l.fs.SyncDir("shards")); err != nil {
			return err
		}
	}
	return nil
}
