package node

import (
	"slices"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// replicaStatus describes the local replicas by shard.
func (n *node) replicaStatus() []*pb.ReplicaStatus {
	list := n.replicas.status()
	slices.SortFunc(list, func(a, b *pb.ReplicaStatus) int { return int(a.ShardId) - int(b.ShardId) })
	return list
}

// liveness is what gossip believes of every node of the map.
func (n *node) liveness() []*pb.NodeStatus {
	var list []*pb.NodeStatus
	m := n.follower.Map()
	if m == nil {
		return nil
	}
	for _, other := range m.Nodes {
		member := n.members.Member(api.NodeID(other.Id))
		list = append(list, &pb.NodeStatus{NodeId: other.Id, Liveness: string(member.Liveness)})
	}
	return list
}
