package meta

import (
	"fmt"
	"slices"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/seededbug"
)

const (
	// maxReplicas bounds the replicas of a shard, those that come and go among them.
	maxReplicas = 9
	// maxRemoved bounds the tombstones, which every map carries.
	maxRemoved = 4096
)

// evaluateChange evaluates the commands of version 2, which move replicas and change nodes, and of version 3, which
// split shards.
func evaluateChange(s *peerv1.MetaState, c *peerv1.MetaCommand) *peerv1.MetaResult {
	if s.Map.ClusterId == "" {
		return result(peerv1.MetaCode_META_CODE_NOT_INITIALISED)
	}
	before := s.Map.Revision
	switch op := c.GetOp().(type) {
	case *peerv1.MetaCommand_SetNodeState:
		return evaluateSetNodeState(s, op.SetNodeState)
	case *peerv1.MetaCommand_RemoveNode:
		return evaluateRemoveNode(s, op.RemoveNode)
	case *peerv1.MetaCommand_AddReplica:
		return evaluateAddReplica(s, op.AddReplica)
	case *peerv1.MetaCommand_SettleReplica:
		return evaluateReplica(s, op.SettleReplica, settle)
	case *peerv1.MetaCommand_LeaveReplica:
		return evaluateReplica(s, op.LeaveReplica, leave)
	case *peerv1.MetaCommand_DropReplica:
		return evaluateReplica(s, op.DropReplica, drop)
	case *peerv1.MetaCommand_PreferLeader:
		return evaluatePreferLeader(s, op.PreferLeader)
	case *peerv1.MetaCommand_PrepareSplit:
		return evaluatePrepareSplit(s, op.PrepareSplit)
	case *peerv1.MetaCommand_FinishSplit:
		return evaluateFinishSplit(s, op.FinishSplit)
	case *peerv1.MetaCommand_RaiseClusterVersion:
		return evaluateRaiseClusterVersion(s, op.RaiseClusterVersion)
	case *peerv1.MetaCommand_SetRebalance:
		if s.Map.RebalancePaused != op.SetRebalance.GetPaused() {
			s.Map.RebalancePaused, s.Map.Revision = op.SetRebalance.GetPaused(), before+1
		}
	case *peerv1.MetaCommand_ReserveMapReplica:
		return evaluateReserveMapReplica(s)
	}
	return result(peerv1.MetaCode_META_CODE_OK)
}

func nodeOf(s *peerv1.MetaState, id string) *pb.Node {
	for _, n := range s.Map.Nodes {
		if n.Id == id {
			return n
		}
	}
	return nil
}

// evaluateSetNodeState takes a node from any state to any other, with one exception: a lost node does not come back,
// because another one may have its name.
func evaluateSetNodeState(s *peerv1.MetaState, c *peerv1.MetaSetNodeState) *peerv1.MetaResult {
	n := nodeOf(s, c.GetNodeId())
	_, known := pb.NodeState_name[int32(c.GetState())]
	switch {
	case !known:
		return result(peerv1.MetaCode_META_CODE_INVALID)
	case n == nil && slices.Contains(s.Map.RemovedNodeIds, c.GetNodeId()):
		return result(peerv1.MetaCode_META_CODE_REMOVED)
	case n == nil:
		return result(peerv1.MetaCode_META_CODE_UNKNOWN)
	case n.State == c.GetState():
		return result(peerv1.MetaCode_META_CODE_OK)
	case n.State == pb.NodeState_NODE_STATE_LOST:
		return result(peerv1.MetaCode_META_CODE_REMOVED)
	case (c.GetState() == pb.NodeState_NODE_STATE_DECOMMISSIONING || c.GetState() == pb.NodeState_NODE_STATE_LOST) && !c.GetMapMoves() && holdsMap(s, n.Id):
		return result(peerv1.MetaCode_META_CODE_CONFLICT)
	}
	n.State = c.GetState()
	s.Map.Revision++
	return result(peerv1.MetaCode_META_CODE_OK)
}

func holdsMap(s *peerv1.MetaState, node string) bool { return MapReplica(s.Map, node) != nil }

// evaluateRemoveNode takes a node out that holds nothing, and keeps its id as a tombstone (M8).
func evaluateRemoveNode(s *peerv1.MetaState, c *peerv1.MetaRemoveNode) *peerv1.MetaResult {
	n := nodeOf(s, c.GetNodeId())
	switch {
	case slices.Contains(s.Map.RemovedNodeIds, c.GetNodeId()):
		return result(peerv1.MetaCode_META_CODE_OK)
	case n == nil:
		return result(peerv1.MetaCode_META_CODE_UNKNOWN)
	case n.State != pb.NodeState_NODE_STATE_DECOMMISSIONING && n.State != pb.NodeState_NODE_STATE_LOST, holdsMap(s, n.Id):
		return result(peerv1.MetaCode_META_CODE_CONFLICT)
	case len(s.Map.RemovedNodeIds) >= maxRemoved:
		return result(peerv1.MetaCode_META_CODE_FULL)
	}
	for _, shard := range s.Map.Shards {
		if replicaOn(shard, n.Id) >= 0 && !seededbug.Enabled(seededbug.MetaRemoveHolder) {
			return result(peerv1.MetaCode_META_CODE_CONFLICT)
		}
	}
	s.Map.Nodes = slices.DeleteFunc(s.Map.Nodes, func(other *pb.Node) bool { return other == n })
	s.Map.RemovedNodeIds = append(s.Map.RemovedNodeIds, c.GetNodeId())
	s.Map.Revision++
	return result(peerv1.MetaCode_META_CODE_OK)
}

// shardOf is the shard of a command that was made for its epoch.
func shardOf(s *peerv1.MetaState, id, epoch uint64) (*pb.Shard, peerv1.MetaCode) {
	for _, shard := range s.Map.Shards {
		switch {
		case shard.Id != id:
		case shard.Epoch != epoch:
			return nil, peerv1.MetaCode_META_CODE_CONFLICT
		default:
			return shard, peerv1.MetaCode_META_CODE_OK
		}
	}
	return nil, peerv1.MetaCode_META_CODE_UNKNOWN
}

func replicaOn(s *pb.Shard, node string) int {
	return slices.IndexFunc(s.Replicas, func(r *pb.Replica) bool { return r.NodeId == node })
}

// evaluateAddReplica gives a node a replica with an incarnation that the shard never had (M9). There is one learner
// at a time.
func evaluateAddReplica(s *peerv1.MetaState, c *peerv1.MetaAddReplica) *peerv1.MetaResult {
	shard, code := shardOf(s, c.GetShardId(), c.GetEpoch())
	n := nodeOf(s, c.GetNodeId())
	switch {
	case shard == nil:
		return result(code)
	case n == nil:
		return result(peerv1.MetaCode_META_CODE_UNKNOWN)
	}
	if at := replicaOn(shard, n.Id); at >= 0 {
		if shard.Replicas[at].Leaving {
			return result(peerv1.MetaCode_META_CODE_CONFLICT)
		}
		return &peerv1.MetaResult{Code: peerv1.MetaCode_META_CODE_OK, Incarnation: shard.Replicas[at].Incarnation}
	}
	learning := slices.ContainsFunc(shard.Replicas, func(r *pb.Replica) bool { return r.Learner })
	switch {
	case n.State != pb.NodeState_NODE_STATE_ACTIVE, learning, shard.Split != nil:
		return result(peerv1.MetaCode_META_CODE_CONFLICT)
	case c.GetReplaces() != "" && replicaOn(shard, c.GetReplaces()) < 0:
		return result(peerv1.MetaCode_META_CODE_CONFLICT)
	case len(shard.Replicas) >= maxReplicas:
		return result(peerv1.MetaCode_META_CODE_FULL)
	}
	shard.LastIncarnation++
	shard.Replicas = append(shard.Replicas, &pb.Replica{
		NodeId: n.Id, Incarnation: shard.LastIncarnation, Learner: true, Replaces: c.GetReplaces(),
	})
	s.Map.Revision++
	return &peerv1.MetaResult{Code: peerv1.MetaCode_META_CODE_OK, Incarnation: shard.LastIncarnation}
}

// replicaChange changes the replica at a place of a shard. It reports what the command comes to and whether the map
// is another one now.
type replicaChange func(shard *pb.Shard, at int) (peerv1.MetaCode, bool)

// evaluateReplica changes one replica. Only a replica that is dropped already may be missing.
func evaluateReplica(s *peerv1.MetaState, c *peerv1.MetaReplica, change replicaChange) *peerv1.MetaResult {
	shard, code := shardOf(s, c.GetShardId(), c.GetEpoch())
	if shard == nil {
		return result(code)
	}
	at := replicaOn(shard, c.GetNodeId())
	if at < 0 || shard.Replicas[at].Incarnation != c.GetIncarnation() {
		return result(peerv1.MetaCode_META_CODE_UNKNOWN)
	}
	code, changed := change(shard, at)
	if changed {
		s.Map.Revision++
	}
	return result(code)
}

// settle notes that a replica votes.
func settle(shard *pb.Shard, at int) (peerv1.MetaCode, bool) {
	r := shard.Replicas[at]
	changed := r.Learner
	r.Learner = false
	return peerv1.MetaCode_META_CODE_OK, changed
}

// leave notes that a replica is being removed, unless none that votes would stay (M10).
func leave(shard *pb.Shard, at int) (peerv1.MetaCode, bool) {
	r := shard.Replicas[at]
	staying := 0
	for i, other := range shard.Replicas {
		if i != at && !other.Learner && !other.Leaving {
			staying++
		}
	}
	switch {
	case r.Leaving:
		return peerv1.MetaCode_META_CODE_OK, false
	case !r.Learner && staying == 0, shard.Split != nil: // the child is to be where the shard is (M12)
		return peerv1.MetaCode_META_CODE_CONFLICT, false
	}
	r.Leaving = true
	return peerv1.MetaCode_META_CODE_OK, true
}

// drop takes a replica out that was said to leave. What replaced it is an ordinary replica from then on.
func drop(shard *pb.Shard, at int) (peerv1.MetaCode, bool) {
	gone := shard.Replicas[at]
	if !gone.Leaving {
		return peerv1.MetaCode_META_CODE_CONFLICT, false
	}
	shard.Replicas = slices.Delete(shard.Replicas, at, at+1)
	for _, r := range shard.Replicas {
		if r.Replaces == gone.NodeId {
			r.Replaces = ""
		}
	}
	if shard.PreferredLeader == gone.NodeId {
		shard.PreferredLeader = ""
	}
	return peerv1.MetaCode_META_CODE_OK, true
}

func evaluatePreferLeader(s *peerv1.MetaState, c *peerv1.MetaPreferLeader) *peerv1.MetaResult {
	shard, code := shardOf(s, c.GetShardId(), c.GetEpoch())
	if shard == nil {
		return result(code)
	}
	at := replicaOn(shard, c.GetNodeId())
	switch {
	case at < 0:
		return result(peerv1.MetaCode_META_CODE_UNKNOWN)
	case shard.Replicas[at].Learner || shard.Replicas[at].Leaving:
		return result(peerv1.MetaCode_META_CODE_CONFLICT)
	case shard.PreferredLeader != c.GetNodeId():
		shard.PreferredLeader = c.GetNodeId()
		s.Map.Revision++
	}
	return result(peerv1.MetaCode_META_CODE_OK)
}

// free takes the name from a node that is lost, so that the node that replaces it can have it (M7).
func free(n *pb.Node) {
	n.Name = fmt.Sprintf("%s-lost-%d", n.Name, n.Ordinal)
}
