package meta

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
)

// evaluatePrepareSplit notes that a shard is split, and gives out the child's id, before any replica hears of it. All
// replicas must vote and stay: the child begins with one beside each of them, of the same incarnation (M12). A replica
// that was made again after its disk was lost so has another one in the child as well, and never votes twice.
func evaluatePrepareSplit(s *peerv1.MetaState, c *peerv1.MetaPrepareSplit) *peerv1.MetaResult {
	shard, code := shardOf(s, c.GetShardId(), c.GetEpoch())
	switch {
	case shard == nil:
		return result(code)
	case shard.Split != nil && shard.Split.AtSlot == c.GetAtSlot(): // the command comes again
		return &peerv1.MetaResult{Code: peerv1.MetaCode_META_CODE_OK, ChildId: shard.Split.ChildId}
	case shard.Split != nil:
		return result(peerv1.MetaCode_META_CODE_CONFLICT)
	case c.GetAtSlot() <= shard.StartSlot || c.GetAtSlot() >= shard.EndSlot:
		return result(peerv1.MetaCode_META_CODE_INVALID)
	case slices.ContainsFunc(shard.Replicas, func(r *pb.Replica) bool { return r.Learner || r.Leaving }):
		return result(peerv1.MetaCode_META_CODE_CONFLICT)
	case shardCount(s) >= maxShards:
		return result(peerv1.MetaCode_META_CODE_FULL)
	}
	s.LastShardId++
	split := &pb.Split{ChildId: s.LastShardId, AtSlot: c.GetAtSlot(), Epoch: shard.Epoch, ChildEpoch: shard.Epoch + 1}
	for _, r := range shard.Replicas {
		split.Replicas = append(split.Replicas, &pb.Replica{NodeId: r.NodeId, Incarnation: r.Incarnation})
	}
	shard.Split = split
	s.Map.Revision++
	return &peerv1.MetaResult{Code: peerv1.MetaCode_META_CODE_OK, ChildId: split.ChildId}
}

// shardCount counts the shards of a map and those that are being made.
func shardCount(s *peerv1.MetaState) int {
	count := len(s.Map.Shards)
	for _, shard := range s.Map.Shards {
		if shard.Split != nil {
			count++
		}
	}
	return count
}

// evaluateFinishSplit publishes both halves of a split in one command, so that the arcs tile before and after (M5). It
// succeeds without effect when the child is there.
func evaluateFinishSplit(s *peerv1.MetaState, c *peerv1.MetaFinishSplit) *peerv1.MetaResult {
	at := slices.IndexFunc(s.Map.Shards, func(x *pb.Shard) bool { return x.Id == c.GetShardId() })
	switch {
	case at < 0:
		return result(peerv1.MetaCode_META_CODE_UNKNOWN)
	case slices.ContainsFunc(s.Map.Shards, func(x *pb.Shard) bool { return x.Id == c.GetChildId() && x.Id != c.GetShardId() }):
		return result(peerv1.MetaCode_META_CODE_OK)
	}
	parent := s.Map.Shards[at]
	split := parent.Split
	if split == nil || split.ChildId != c.GetChildId() || split.Epoch != c.GetEpoch() || parent.Epoch != c.GetEpoch() {
		return result(peerv1.MetaCode_META_CODE_CONFLICT)
	}
	child := childOf(parent)
	parent.EndSlot, parent.Split = split.AtSlot, nil
	parent.Epoch++
	s.Map.Shards = slices.Insert(s.Map.Shards, at+1, child)
	s.Map.Revision++
	return result(peerv1.MetaCode_META_CODE_OK)
}

// otherLeader is who should lead a child: the first replica that is not to lead the parent, so that half of its load
// goes elsewhere.
func otherLeader(parent *pb.Shard) string {
	for _, r := range parent.Replicas {
		if r.NodeId != parent.PreferredLeader {
			return r.NodeId
		}
	}
	return parent.PreferredLeader
}

// ShardsOf are the shards of a map, and those that are being split off, as the map will list them: nodes open their replicas
// as soon as they are there. What m points to is not changed.
func ShardsOf(m *pb.ClusterMap) []*pb.Shard {
	shards := slices.Clip(m.GetShards())
	for _, parent := range m.GetShards() {
		if parent.Split != nil {
			shards = append(shards, childOf(parent))
		}
	}
	return shards
}

// childOf is the shard that a noted split makes.
func childOf(parent *pb.Shard) *pb.Shard {
	split := parent.Split
	child := &pb.Shard{
		Id: split.ChildId, StartSlot: split.AtSlot, EndSlot: parent.EndSlot, Epoch: split.ChildEpoch,
		LastIncarnation: parent.LastIncarnation, PreferredLeader: otherLeader(parent), ParentId: parent.Id, ParentEpoch: split.Epoch,
	}
	for _, r := range split.Replicas {
		child.Replicas = append(child.Replicas, proto.CloneOf(r))
		child.Founders = append(child.Founders, proto.CloneOf(r))
	}
	return child
}
