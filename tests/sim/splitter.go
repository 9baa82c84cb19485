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
	last struct {
		sync.Mutex
		err error
	}
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

// ends waits until the split that was begun last is finished, without faults.
func (s *splitter) ends(over <-chan struct{}) error {
	select {
	case <-over:
		return nil
	case <-time.After(liveLimit):
		s.c.closing.Store(true)
		<-over
		s.last.Lock()
		defer s.last.Unlock()
		return fmt.Errorf("a shard is not split %v after the faults: %w", liveLimit, s.last.err)
	}
}

// split splits one shard; false if the history is over.
func (s *splitter) split() bool {
	parent := s.parent()
	if parent == nil {
		return !s.c.closing.Load()
	}
	at := parent.StartSlot + 1 + uint32(s.rng.IntN(int(parent.EndSlot-parent.StartSlot-1)))
	var noted *pb.Split
	if !s.change(&peerv1.MetaCommand{Op: &peerv1.MetaCommand_PrepareSplit{
		PrepareSplit: &peerv1.MetaPrepareSplit{ShardId: parent.Id, Epoch: parent.Epoch, AtSlot: at},
	}}) {
		return false
	}
	for noted == nil && !s.c.closing.Load() {
		if m := s.c.newestMap(); m != nil {
			for _, d := range m.Shards {
				if d.Id == parent.Id {
					noted = d.Split
				}
			}
		}
		pass(10 * time.Millisecond)
	}
	if noted == nil || !s.carryOut(parent, noted) {
		return false
	}
	return s.change(&peerv1.MetaCommand{Op: &peerv1.MetaCommand_FinishSplit{
		FinishSplit: &peerv1.MetaFinishSplit{ShardId: parent.Id, Epoch: parent.Epoch, ChildId: noted.ChildId},
	}})
}

// parent is a shard that can be split.
func (s *splitter) parent() *pb.Shard {
	m := s.c.newestMap()
	if m == nil {
		return nil
	}
	d := m.Shards[s.rng.IntN(len(m.Shards))]
	if d.EndSlot-d.StartSlot < 2 {
		return nil
	}
	return d
}

// attempt calls do until it succeeds; false if the history is over.
func (s *splitter) attempt(do func(context.Context) error) bool {
	for !s.c.closing.Load() {
		patience := 5 * time.Second
		if s.rng.IntN(3) == 0 {
			patience = time.Duration(s.rng.Int64N(int64(200 * time.Millisecond)))
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := do(ctx)
		cancel()
		if err == nil {
			return true
		}
		s.last.Lock()
		s.last.err = err
		s.last.Unlock()
		pass(50 * time.Millisecond)
	}
	return false
}

var errNobodyLeads = errors.New("nobody leads")

// change has the map changed.
func (s *splitter) change(command *peerv1.MetaCommand) bool {
	return s.attempt(func(ctx context.Context) error {
		for _, n := range s.c.Nodes {
			l := n.current()
			if l == nil || l.meta == nil || !l.meta.Leads() {
				continue
			}
			result, err := l.meta.Change(ctx, command)
			if err == nil && result.GetCode() != peerv1.MetaCode_META_CODE_OK {
				s.c.violate("the map refuses %v: %v", command, result.GetCode())
			}
			return err
		}
		return errNobodyLeads
	})
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

// unborn reports whether a replica that a shard was split off with must wait for its parent's to make it, as internal/node
// judges it.
func (l *life) unborn(description *pb.Shard, incarnation uint64) bool {
	founder := slices.ContainsFunc(description.Founders, func(r *pb.Replica) bool {
		return r.NodeId == string(l.node.id) && r.Incarnation == incarnation
	})
	if description.ParentId == 0 || !founder {
		return false
	}
	if names, err := l.fs.List("shards"); err == nil && slices.Contains(names, fmt.Sprintf("%d-%d", description.Id, incarnation)) {
		return false
	}
	parent, isOpen := l.shard(api.ShardID(description.ParentId))
	return !isOpen || parent.Epoch() <= api.Epoch(description.ParentEpoch)
}
