package node

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
)

// membersService carries out orders on the members of the groups that this node leads.
type membersService struct {
	peerv1.UnimplementedMembersServer
	host     *raft.Host
	replicas *replicas
}

func (n *node) registerMembers(s grpc.ServiceRegistrar) {
	peerv1.RegisterMembersServer(s, membersService{host: n.host, replicas: n.replicas})
}

func (s membersService) group(id uint64) (*raft.Group, error) {
	if g, ok := s.host.Group(raft.GroupID(id)); ok {
		return g, nil
	}
	// Nothing was done, and another node may know better.
	return nil, api.Errorf(api.CodeNotLeader, "no replica of group %d is open here", id)
}

// GetMembers implements peerv1.MembersServer.
func (s membersService) GetMembers(ctx context.Context, req *peerv1.GetMembersRequest) (*peerv1.GroupMembers, error) {
	g, err := s.group(req.GroupId)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	m, err := g.Membership(ctx)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	out := &peerv1.GroupMembers{
		GroupId: req.GroupId, Index: uint64(m.Configuration.Index), LeaderId: string(m.Leader.Node),
		Term: uint64(m.Term), LastLogIndex: uint64(m.LastLog), Changing: m.Changing,
	}
	if replica, ok := s.replicas.shard(api.ShardID(req.GroupId)); ok {
		out.DiskBytes, out.Requests = replica.DiskBytes(), proto.Uint64(replica.Requests())
	}
	for _, member := range m.Members {
		out.Members = append(out.Members, &peerv1.GroupMember{
			NodeId: string(member.Replica.Node), Incarnation: member.Replica.Incarnation, Voter: member.Voter,
			LastLogIndex: uint64(member.LastLog), MissingEntries: member.MissingEntries, MissingBytes: uint64(member.MissingBytes),
			ContactMillis: contactMillis(member), CaughtUp: member.CaughtUp,
		})
	}
	return out, nil
}

// contactMillis is negative for a member that was not heard of.
func contactMillis(m raft.Member) int64 {
	if m.Contact < 0 {
		return -1
	}
	return m.Contact.Milliseconds()
}

// ChangeMembers implements peerv1.MembersServer.
func (s membersService) ChangeMembers(ctx context.Context, req *peerv1.ChangeMembersRequest) (*peerv1.ChangeMembersResponse, error) {
	g, err := s.group(req.GroupId)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	replica, previous := raft.ReplicaID{Node: api.NodeID(req.NodeId), Incarnation: req.Incarnation}, api.Index(req.PreviousIndex)
	if replica.Node == "" || replica.Incarnation == 0 {
		return nil, api.ToStatus(api.Errorf(api.CodeInvalid, "a change of the members of group %d names no replica", req.GroupId))
	}
	if previous == 0 {
		return nil, api.ToStatus(api.Errorf(api.CodeInvalid, "a change of the members of group %d does not say for which members it is meant", req.GroupId))
	}
	var index api.Index
	switch req.Change {
	case peerv1.MemberChange_MEMBER_CHANGE_ADD_LEARNER:
		index, err = g.AddLearner(ctx, replica, previous)
	case peerv1.MemberChange_MEMBER_CHANGE_PROMOTE:
		index, err = g.Promote(ctx, replica, previous)
	case peerv1.MemberChange_MEMBER_CHANGE_REMOVE:
		index, err = g.Remove(ctx, replica, previous, int(req.KeepVoters))
	default:
		err = api.Errorf(api.CodeInvalid, "a change %d of the members of group %d is unknown to this version of the node", req.Change, req.GroupId)
	}
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.ChangeMembersResponse{Index: uint64(index)}, nil
}

// GetRoom implements peerv1.MembersServer.
func (s membersService) GetRoom(context.Context, *peerv1.GetRoomRequest) (*peerv1.GetRoomResponse, error) {
	disk, ok := s.replicas.fs.(vfs.Space)
	if !ok {
		return &peerv1.GetRoomResponse{}, nil
	}
	free, total, err := disk.Space(s.replicas.dir)
	if err != nil {
		return nil, api.ToStatus(fmt.Errorf("ask the disk for its room: %w", err))
	}
	return &peerv1.GetRoomResponse{FreeBytes: uint64(max(free, 0)), TotalBytes: uint64(max(total, 0))}, nil
}

// TransferLeadership implements peerv1.MembersServer.
func (s membersService) TransferLeadership(ctx context.Context, req *peerv1.TransferLeadershipRequest) (*peerv1.TransferLeadershipResponse, error) {
	g, err := s.group(req.GroupId)
	switch {
	case err != nil:
	case req.NodeId == "":
		err = g.TransferLeadership(ctx)
	default:
		err = g.TransferLeadershipTo(ctx, api.NodeID(req.NodeId))
	}
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.TransferLeadershipResponse{}, nil
}
