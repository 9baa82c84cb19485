package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/shard"
)

// splitter splits shards while faults come, in the three steps of the master: the map notes the split, the shard's leader
// carries it out, the map publishes it. Some steps are given up early and taken again, as by a master that takes the place of another.
type splitter struct {
	c    *Cluster
	rng  *rand.Rand
	done int
	// finished are the children of the splits that the map has published.
	finished []uint64
	orders   orders
}

// maxSplits bounds the shards of a history.
const maxSplits = 4

func (s *splitter) run(ctx context.Context) {
	for s.done < maxSplits {
		wait(ctx, s.c.plan.Calm/2+time.Duration(s.rng.Int64N(int64(s.c.plan.Calm))))
		if ctx.Err() != nil || !s.split() {
			return
		}
		s.done++
	}
}

// ends waits until the split that was begun last is finished.
func (s *splitter) ends(over <-chan struct{}) error {
	return s.orders.end(s.c, over, "a shard is not split")
}

// split splits one shard; false if the history is over. A map may be older than what was done, so a split that is not noted
// is tried with another shard, and one that is noted is carried out first.
func (s *splitter) split() bool {
	var parent *pb.Shard
	for parent == nil {
		if s.c.closing.Load() {
			return false
		}
		if parent = s.noted(); parent == nil {
			s.prepare()
			pass(50 * time.Millisecond)
		}
	}
	child := parent.Split.ChildId
	if !s.carryOut(parent, parent.Split) || !s.change(&peerv1.MetaCommand{Op: &peerv1.MetaCommand_FinishSplit{
		FinishSplit: &peerv1.MetaFinishSplit{ShardId: parent.Id, Epoch: parent.Split.Epoch, ChildId: child},
	}}) {
		return false
	}
	s.finished = append(s.finished, child)
	return true
}

// noted is a shard of which the map has noted a split that is not finished.
func (s *splitter) noted() *pb.Shard {
	for _, d := range s.c.newestMap().GetShards() {
		if d.Split != nil && !slices.Contains(s.finished, d.Split.ChildId) {
			return d
		}
	}
	return nil
}

// prepare tries to have the split of some shard noted.
func (s *splitter) prepare() {
	m := s.c.newestMap()
	if m == nil {
		return
	}
	d := m.Shards[s.rng.IntN(len(m.Shards))]
	if d.EndSlot-d.StartSlot < 2 {
		return
	}
	at := d.StartSlot + 1 + uint32(s.rng.IntN(int(d.EndSlot-d.StartSlot-1)))
	_ = s.orders.try(s.rng, func(ctx context.Context) error {
		return s.propose(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_PrepareSplit{
			PrepareSplit: &peerv1.MetaPrepareSplit{ShardId: d.Id, Epoch: d.Epoch, AtSlot: at},
		}})
	})
}

// attempt calls do until it succeeds; false if the history is over.
func (s *splitter) attempt(do func(context.Context) error) bool {
	for !s.c.closing.Load() {
		if s.orders.try(s.rng, do) == nil {
			return true
		}
		pass(50 * time.Millisecond)
	}
	return false
}

var errNobodyLeads = errors.New("nobody leads")

// change has the map changed.
func (s *splitter) change(command *peerv1.MetaCommand) bool {
	return s.attempt(func(ctx context.Context) error { return s.propose(ctx, command) })
}

func (s *splitter) propose(ctx context.Context, command *peerv1.MetaCommand) error {
	for _, n := range s.c.Nodes {
		if l := n.current(); l != nil && l.meta != nil && l.meta.Leads() {
			_, err := l.meta.Change(ctx, command)
			return err
		}
	}
	return errNobodyLeads
}

// carryOut has a shard split by its leader.
func (s *splitter) carryOut(parent *pb.Shard, noted *pb.Split) bool {
	c := shard.Split{
		Child: api.ShardID(noted.ChildId), At: noted.AtSlot, Epoch: api.Epoch(noted.Epoch), ChildEpoch: api.Epoch(noted.ChildEpoch),
	}
	for _, r := range noted.Replicas {
		c.Replicas = append(c.Replicas, raft.ReplicaID{Node: api.NodeID(r.NodeId), Incarnation: r.Incarnation})
	}
	return s.attempt(func(ctx context.Context) error {
		for _, replica := range s.c.replicas(api.ShardID(parent.Id)) {
			if !replica.Group().IsReadyLeader() {
				continue
			}
			err := replica.Split(ctx, c)
			if errors.Is(err, api.ErrStaleMap) || errors.Is(err, api.ErrInvalid) {
				s.c.violate("shard %d refuses its split: %v", parent.Id, err)
			}
			return err
		}
		return errNobodyLeads
	})
}

// newestMap is the map of the highest revision that a node has.
func (c *Cluster) newestMap() *pb.ClusterMap {
	var newest *pb.ClusterMap
	for _, n := range c.Nodes {
		if l := n.current(); l != nil {
			if m := l.follower.Map(); len(m.GetShards()) > 0 && m.Revision > newest.GetRevision() {
				newest = m
			}
		}
	}
	return newest
}

// shardIDs are the shards that there are.
func (c *Cluster) shardIDs() (ids []api.ShardID) {
	for _, s := range c.newestMap().GetShards() {
		ids = append(ids, api.ShardID(s.Id))
	}
	return ids
}

// ChildDir implements shard.Splitter.
func (l *life) ChildDir(child api.ShardID, incarnation uint64) string {
	return fmt.Sprintf("shards/%d-%d", child, incarnation)
}

// OnSplit implements shard.Splitter.
func (l *life) OnSplit(api.ShardID) { wake(l.poked) }

// founds reports whether a replica of this node is one that a shard began with.
func (l *life) founds(description *pb.Shard, incarnation uint64) bool {
	return slices.ContainsFunc(description.Founders, func(r *pb.Replica) bool {
		return r.NodeId == string(l.node.id) && r.Incarnation == incarnation
	})
}

// unborn reports whether a replica that a shard was split off with must wait for its parent's to make it, as internal/node
// judges it.
func (l *life) unborn(description *pb.Shard, incarnation uint64) bool {
	if description.ParentId == 0 || !l.founds(description, incarnation) {
		return false
	}
	if names, err := l.fs.List("shards"); err == nil && slices.Contains(names, fmt.Sprintf("%d-%d", description.Id, incarnation)) {
		return false
	}
	parent, isOpen := l.shard(api.ShardID(description.ParentId))
	return !isOpen || parent.Epoch() <= api.Epoch(description.ParentEpoch)
}
