package node

import (
	"context"
	"slices"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/shard"
)

// Splits, on the side of a node.
//
// The map notes a split before the shard's log has it, and lists the child when it is done. Replicas of the child are opened
// as soon as they are there, so that it has a leader by the time that somebody looks for it: a node takes a split that the
// map notes for a shard with the replicas of the split.
//
// A child's replica comes out of its parent's, which makes it where it applies the split (see shard.Split). One whose
// parent's replica went past the split by a snapshot begins empty. That nothing of it is on the disk is no loss then, if the
// parent's replica is the one that was to make it: had this disk been lost, that one would not be there either (N7). So
// it votes: without its vote a child that one replica has made, and whose other one died, would have no leader.

// birth says what there is of a replica that is not open.
type birth int

const (
	asEver birth = iota // it is on the disk, or begins empty
	notYet              // its parent's replica will make it
	gone                // it was on this disk before, or should be
)

// birthOf looks whether a replica of this node may be opened. here are those that are on the disk.
func (r *replicas) birthOf(s *pb.Shard, mine *pb.Replica, here map[replicaKey]bool) (birth, error) {
	key := replicaKey{api.ShardID(s.Id), mine.Incarnation}
	discarded, err := r.host.Discarded(raft.GroupID(key.shard), key.incarnation)
	if err != nil {
		return gone, err
	}
	ran, err := r.host.Ran(raft.GroupID(key.shard), key.incarnation)
	switch {
	case err != nil || discarded:
		return gone, err
	case here[key]:
		return asEver, nil
	case ran || lost(s, mine):
		return gone, nil
	case s.ParentId == 0 || mine.Learner || !isFounder(s, mine):
		return asEver, nil
	}
	parent, isOpen := r.shard(api.ShardID(s.ParentId))
	switch {
	case isOpen && parent.Options().Incarnation == mine.Incarnation:
		if parent.Epoch() > api.Epoch(s.ParentEpoch) {
			return asEver, nil // the parent's went past the split without making it
		}
		return notYet, nil
	case here[replicaKey{api.ShardID(s.ParentId), mine.Incarnation}], r.toBeOpened(replicaKey{api.ShardID(s.ParentId), mine.Incarnation}):
		return notYet, nil // the parent's is fenced, or not open yet
	}
	return gone, nil
}

// toBeOpened reports whether the map gives this node a replica that is not known to be lost.
func (r *replicas) toBeOpened(k replicaKey) bool {
	r.mu.RLock()
	_, lost := r.mu.troubled[k]
	r.mu.RUnlock()
	return !lost && slices.ContainsFunc(r.current.Load().GetShards(), func(s *pb.Shard) bool {
		mine := replicaOf(s, r.self)
		return s.Id == uint64(k.shard) && mine != nil && mine.Incarnation == k.incarnation
	})
}

// splitter makes room for the children of this node's replicas.
type splitter struct{ *replicas }

// ChildDir implements shard.Splitter.
func (s splitter) ChildDir(child api.ShardID, incarnation uint64) string {
	return s.dir + "/" + replicaKey{child, incarnation}.String()
}

// OnSplit implements shard.Splitter.
func (s splitter) OnSplit(child api.ShardID) {
	s.logger.Info("a shard was split off", "child", uint64(child))
	select {
	case s.born <- struct{}{}:
	default: // a wake-up is waiting already
	}
}

// splitShard has the shard of a group split, which a replica of this node must lead.
func (r *replicas) splitShard(ctx context.Context, group raft.GroupID, s *pb.Split) error {
	replica, ok := r.shard(api.ShardID(group))
	if !ok {
		return api.Errorf(api.CodeNotLeader, "no replica of group %d is open here", group)
	}
	c := shard.Split{
		Child: api.ShardID(s.GetChildId()), At: s.GetAtSlot(), Epoch: api.Epoch(s.GetEpoch()), ChildEpoch: api.Epoch(s.GetChildEpoch()),
	}
	for _, member := range s.GetReplicas() {
		c.Replicas = append(c.Replicas, raft.ReplicaID{Node: api.NodeID(member.NodeId), Incarnation: member.Incarnation})
	}
	return replica.Split(ctx, c)
}

// SplitShard implements peerv1.MembersServer.
func (s membersService) SplitShard(ctx context.Context, req *peerv1.SplitShardRequest) (*peerv1.SplitShardResponse, error) {
	split := req.GetSplit()
	if split.GetChildId() == 0 || split.GetAtSlot() == 0 || len(split.GetReplicas()) == 0 {
		return nil, api.ToStatus(api.Errorf(api.CodeInvalid, "an order to split shard %d names no child, no slot or no replicas", req.GroupId))
	}
	if err := s.replicas.splitShard(ctx, raft.GroupID(req.GroupId), split); err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.SplitShardResponse{}, nil
}
