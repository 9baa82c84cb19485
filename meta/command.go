package meta

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/router"
)

// commandVersion is the newest evaluation version that this node knows.
const commandVersion = 3

// versionOf is the evaluation version of a command: 1 makes the first map, 2 changes it, 3 splits shards and moves its own replicas.
func versionOf(c *peerv1.MetaCommand) uint32 {
	switch op := c.GetOp().(type) {
	case *peerv1.MetaCommand_Tick, *peerv1.MetaCommand_Init, *peerv1.MetaCommand_RegisterNode, *peerv1.MetaCommand_CreateShards:
		return 1
	case *peerv1.MetaCommand_PrepareSplit, *peerv1.MetaCommand_FinishSplit, *peerv1.MetaCommand_ReserveMapReplica:
		return 3
	case *peerv1.MetaCommand_SetNodeState:
		if op.SetNodeState.GetMapMoves() {
			return 3
		}
	}
	return 2
}

const (
	// maxNodes bounds the map, which every node holds and fetches whole.
	maxNodes = 1024
	// maxShards bounds the groups of a cluster; hundreds are the most it is meant for.
	maxShards = 1024
	// firstIncarnation is that of every replica until replicas are made again.
	firstIncarnation = FoundersIncarnation
	firstEpoch       = 1
)

func encodeCommand(c *peerv1.MetaCommand) ([]byte, error) {
	c.Version = versionOf(c)
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode meta command: %w", err)
	}
	return data, nil
}

// decodeCommand refuses what this version does not know: a replica that skipped a command would
// differ from the others from then on.
func decodeCommand(data []byte) (*peerv1.MetaCommand, error) {
	var c peerv1.MetaCommand
	if err := proto.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("decode meta command: %w", err)
	}
	if c.GetOp() == nil || c.GetVersion() != versionOf(&c) {
		return nil, fmt.Errorf("meta command of version %d is unknown to this version of the node, which knows versions up to %d", c.GetVersion(), commandVersion)
	}
	return &c, nil
}

// evaluate changes s by c and answers. It is a function of its arguments alone; s is the
// evaluator's own copy. A refusal changes nothing.
func evaluate(s *peerv1.MetaState, c *peerv1.MetaCommand) *peerv1.MetaResult {
	var r *peerv1.MetaResult
	switch op := c.GetOp().(type) {
	case *peerv1.MetaCommand_Init:
		r = evaluateInit(s, op.Init)
	case *peerv1.MetaCommand_RegisterNode:
		r = evaluateRegisterNode(s, op.RegisterNode)
	case *peerv1.MetaCommand_CreateShards:
		r = evaluateCreateShards(s, op.CreateShards)
	case *peerv1.MetaCommand_Tick:
		r = result(peerv1.MetaCode_META_CODE_OK)
	default:
		r = evaluateChange(s, c)
	}
	r.Revision = s.GetMap().GetRevision()
	return r
}

func result(code peerv1.MetaCode) *peerv1.MetaResult { return &peerv1.MetaResult{Code: code} }

func evaluateInit(s *peerv1.MetaState, c *peerv1.MetaInit) *peerv1.MetaResult {
	switch {
	case c.GetClusterId() == "" || len(c.GetFounderIds()) == 0 || c.GetShardCount() == 0 || c.GetShardCount() > maxShards:
		return result(peerv1.MetaCode_META_CODE_INVALID)
	case s.Map.ClusterId != "" && s.Map.ClusterId != c.GetClusterId():
		return result(peerv1.MetaCode_META_CODE_WRONG_CLUSTER)
	case s.Map.ClusterId == "":
		s.Map.ClusterId = c.GetClusterId()
		s.FounderIds = c.GetFounderIds()
		s.ShardCount = c.GetShardCount()
		s.Map.Revision++
	}
	return result(peerv1.MetaCode_META_CODE_OK)
}

func evaluateRegisterNode(s *peerv1.MetaState, c *peerv1.MetaRegisterNode) *peerv1.MetaResult {
	switch {
	case s.Map.ClusterId == "":
		return result(peerv1.MetaCode_META_CODE_NOT_INITIALISED)
	case s.Map.ClusterId != c.GetClusterId():
		return result(peerv1.MetaCode_META_CODE_WRONG_CLUSTER)
	case c.GetNode().GetId() == "" || c.GetNode().GetName() == "":
		return result(peerv1.MetaCode_META_CODE_INVALID)
	case slices.Contains(s.Map.RemovedNodeIds, c.GetNode().GetId()) && !seededbug.Enabled(seededbug.MetaForgetRemoved),
		nodeOf(s, c.GetNode().GetId()).GetState() == pb.NodeState_NODE_STATE_LOST:
		return result(peerv1.MetaCode_META_CODE_REMOVED)
	}
	if refusal := skew(s.Map, c.GetNode()); refusal != nil {
		return refusal
	}
	node := proto.CloneOf(c.GetNode())
	node.State = nodeOf(s, node.Id).GetState() // the operators' word, not the node's
	for _, n := range s.Map.Nodes {
		if n.Name == node.Name && n.Id != node.Id {
			if n.State == pb.NodeState_NODE_STATE_LOST && len(s.Map.Nodes) < maxNodes {
				free(n)
				continue
			}
			return &peerv1.MetaResult{Code: peerv1.MetaCode_META_CODE_KNOWN_NAME, HolderId: n.Id}
		}
	}
	at := slices.IndexFunc(s.Map.Nodes, func(n *pb.Node) bool { return n.Id == node.Id })
	if at < 0 {
		if len(s.Map.Nodes) >= maxNodes {
			return result(peerv1.MetaCode_META_CODE_FULL)
		}
		s.LastOrdinal++
		node.Ordinal = s.LastOrdinal
		s.Map.Nodes = append(s.Map.Nodes, node)
		s.Map.Revision++
		return result(peerv1.MetaCode_META_CODE_OK)
	}
	node.Ordinal = s.Map.Nodes[at].Ordinal
	if !proto.Equal(node, s.Map.Nodes[at]) {
		s.Map.Nodes[at] = node
		s.Map.Revision++
	}
	return result(peerv1.MetaCode_META_CODE_OK)
}

// evaluateCreateShards makes the first shards. It succeeds without effect when there are shards:
// a leader that did not hear the answer proposes again.
func evaluateCreateShards(s *peerv1.MetaState, c *peerv1.MetaCreateShards) *peerv1.MetaResult {
	switch {
	case s.Map.ClusterId == "":
		return result(peerv1.MetaCode_META_CODE_NOT_INITIALISED)
	case len(s.Map.Shards) > 0:
		return result(peerv1.MetaCode_META_CODE_OK)
	}
	if !placeable(s.Map, c.GetShards()) {
		return result(peerv1.MetaCode_META_CODE_INVALID)
	}
	for _, n := range c.GetShards() {
		s.LastShardId++
		shard := &pb.Shard{Id: s.LastShardId, StartSlot: n.GetStartSlot(), EndSlot: n.GetEndSlot(), Epoch: firstEpoch}
		for _, id := range n.GetNodeIds() {
			shard.Replicas = append(shard.Replicas, &pb.Replica{NodeId: id, Incarnation: firstIncarnation})
			shard.Founders = append(shard.Founders, &pb.Replica{NodeId: id, Incarnation: firstIncarnation})
		}
		shard.LastIncarnation, shard.PreferredLeader = firstIncarnation, n.GetNodeIds()[0]
		s.Map.Shards = append(s.Map.Shards, shard)
	}
	s.Map.Revision++
	return result(peerv1.MetaCode_META_CODE_OK)
}

// placeable reports whether the shards tile the slots and live on distinct nodes of the map (M5).
func placeable(m *pb.ClusterMap, shards []*peerv1.MetaNewShard) bool {
	next := uint32(0)
	for _, s := range shards {
		arc := router.Arc{Start: s.GetStartSlot(), End: s.GetEndSlot()}
		if arc.Start != next || arc.Validate() != nil || len(s.GetNodeIds()) == 0 {
			return false
		}
		next = arc.End
		ids := slices.Sorted(slices.Values(s.GetNodeIds()))
		if len(slices.Compact(ids)) != len(s.GetNodeIds()) {
			return false
		}
		for _, id := range ids {
			if !slices.ContainsFunc(m.GetNodes(), func(n *pb.Node) bool { return n.GetId() == id }) {
				return false
			}
		}
	}
	return next == api.SlotCount && len(shards) <= maxShards
}
