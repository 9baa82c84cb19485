package node

import (
	"context"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/raft"
)

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
