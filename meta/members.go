package meta

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/raft"
)

// The replicas of the map itself.
//
// Who holds the map is the committed membership of its own group. It comes by the same log as every command, so that
// the map shows it without a second account of it: there is no half of a change that the map knows and the group does not, or
// the other way round. Only the incarnations need a command, because a number must never be given out twice.

// FoundersIncarnation is that of the replicas that the cluster was founded with.
const FoundersIncarnation = 1

// MapReplica is the replica of the map on a node, nil if it has none.
func MapReplica(m *pb.ClusterMap, node string) *pb.Replica {
	for _, r := range m.GetMetaReplicas() {
		if r.NodeId == node {
			return r
		}
	}
	return nil
}

// setMetaReplicas shows the members of the meta group in the map: nodes without a replica ask them, and a node that is
// named opens one.
func setMetaReplicas(s *peerv1.MetaState, c raft.Configuration) {
	var replicas []*pb.Replica
	for _, member := range c.Servers {
		s.LastMapIncarnation = max(s.LastMapIncarnation, member.Replica.Incarnation)
		replicas = append(replicas, &pb.Replica{
			NodeId: string(member.Replica.Node), Incarnation: member.Replica.Incarnation, Learner: !member.Voter,
		})
	}
	equal := func(a, b *pb.Replica) bool { return proto.Equal(a, b) }
	if !slices.EqualFunc(s.Map.MetaReplicas, replicas, equal) {
		s.Map.MetaReplicas = replicas
		s.Map.Revision++
	}
}

// evaluateReserveMapReplica gives out an incarnation (M9). One that is not used is lost, and there are enough.
func evaluateReserveMapReplica(s *peerv1.MetaState) *peerv1.MetaResult {
	for _, r := range s.Map.MetaReplicas { // a state of version 2 has no last one
		s.LastMapIncarnation = max(s.LastMapIncarnation, r.Incarnation)
	}
	if seededbug.Enabled(seededbug.MetaReuseIncarnation) {
		return &peerv1.MetaResult{Code: peerv1.MetaCode_META_CODE_OK, Incarnation: s.LastMapIncarnation + 1}
	}
	s.LastMapIncarnation++
	return &peerv1.MetaResult{Code: peerv1.MetaCode_META_CODE_OK, Incarnation: s.LastMapIncarnation}
}
