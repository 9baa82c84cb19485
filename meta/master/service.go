package master

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/meta"
)

// ServiceOptions configures NewService. All fields are required.
type ServiceOptions struct {
	Self  api.NodeID
	Peers Connector
	// Local is the master of this node, nil on a node without a replica of the map.
	Local func() *Master
	// Leader is who leads the meta group as this node believes, empty when unknown.
	Leader func() api.NodeID
}

// Service is pb.Admin on any node: it passes on to the master what only the master can do.
type Service struct {
	pb.UnimplementedAdminServer
	o ServiceOptions
}

// NewService makes the service.
func NewService(o ServiceOptions) *Service { return &Service{o: o} }

// RegisterServices adds the service to a server.
func (s *Service) RegisterServices(r grpc.ServiceRegistrar) { pb.RegisterAdminServer(r, s) }

// passedOn marks calls that another node passed on: they are not passed on again.
const passedOn = "lightning-passed-on"

// at answers with the master here, or asks the one that is known.
func at[Q, A any](ctx context.Context, s *Service, req Q, here func(*Master, context.Context, Q) (A, error),
	there func(pb.AdminClient, context.Context, Q, ...grpc.CallOption) (A, error)) (answer A, err error) {
	local := s.o.Local()
	if local != nil && local.o.Map.Leads() {
		answer, err = here(local, ctx, req)
		return answer, api.ToStatus(err)
	}
	leader := s.o.Leader()
	incoming, _ := metadata.FromIncomingContext(ctx)
	if leader == "" || leader == s.o.Self || len(incoming.Get(passedOn)) > 0 {
		return answer, api.ToStatus(api.Errorf(api.CodeUnavailable, "the master is not known: is a majority of the replicas of the cluster map up?"))
	}
	conn, err := s.o.Peers.Conn(leader, peers.Control)
	if err != nil {
		return answer, api.ToStatus(err)
	}
	return there(pb.NewAdminClient(conn), metadata.AppendToOutgoingContext(ctx, passedOn, "1"), req)
}

// SetNodeState implements pb.AdminServer.
func (s *Service) SetNodeState(ctx context.Context, r *pb.SetNodeStateRequest) (*pb.SetNodeStateResponse, error) {
	return at(ctx, s, r, (*Master).setNodeState, pb.AdminClient.SetNodeState)
}

// MoveReplica implements pb.AdminServer.
func (s *Service) MoveReplica(ctx context.Context, r *pb.MoveReplicaRequest) (*pb.MoveReplicaResponse, error) {
	return at(ctx, s, r, (*Master).moveReplica, pb.AdminClient.MoveReplica)
}

// TransferLeader implements pb.AdminServer.
func (s *Service) TransferLeader(ctx context.Context, r *pb.TransferLeaderRequest) (*pb.TransferLeaderResponse, error) {
	return at(ctx, s, r, (*Master).transferLeader, pb.AdminClient.TransferLeader)
}

// SplitShard implements pb.AdminServer.
func (s *Service) SplitShard(ctx context.Context, r *pb.SplitShardRequest) (*pb.SplitShardResponse, error) {
	return at(ctx, s, r, (*Master).splitShard, pb.AdminClient.SplitShard)
}

// SetRebalance implements pb.AdminServer.
func (s *Service) SetRebalance(ctx context.Context, r *pb.SetRebalanceRequest) (*pb.SetRebalanceResponse, error) {
	return at(ctx, s, r, (*Master).setRebalance, pb.AdminClient.SetRebalance)
}

// ClusterStatus implements pb.AdminServer.
func (s *Service) ClusterStatus(ctx context.Context, r *pb.ClusterStatusRequest) (*pb.ClusterStatusResponse, error) {
	return at(ctx, s, r, func(m *Master, _ context.Context, _ *pb.ClusterStatusRequest) (*pb.ClusterStatusResponse, error) {
		return m.Status()
	}, pb.AdminClient.ClusterStatus)
}

// ExplainShard implements pb.AdminServer.
func (s *Service) ExplainShard(ctx context.Context, r *pb.ExplainShardRequest) (*pb.ExplainShardResponse, error) {
	return at(ctx, s, r, (*Master).explainShard, pb.AdminClient.ExplainShard)
}

// node finds a node by its name or its id.
func (m *Master) node(name string) (*pb.Node, error) {
	for _, n := range m.o.Map.Map().GetNodes() {
		if n.Name == name || n.Id == name {
			return n, nil
		}
	}
	return nil, api.Errorf(api.CodeInvalid, "the cluster has no node %q", name)
}

func (m *Master) shard(id uint64) (*pb.Shard, error) {
	for _, s := range m.o.Map.Map().GetShards() {
		if s.Id == id {
			return s, nil
		}
	}
	return nil, api.Errorf(api.CodeInvalid, "the cluster has no shard %d", id)
}

func (m *Master) setNodeState(ctx context.Context, r *pb.SetNodeStateRequest) (*pb.SetNodeStateResponse, error) {
	n, err := m.node(r.Node)
	if err != nil {
		if slices.Contains(m.o.Map.Map().GetRemovedNodeIds(), r.Node) && r.State == pb.NodeState_NODE_STATE_DECOMMISSIONING {
			return &pb.SetNodeStateResponse{Revision: m.o.Map.Map().GetRevision()}, nil // it is done
		}
		return nil, err
	}
	if err := m.mayBecome(n, r.State); err != nil {
		return nil, err
	}
	leaves := r.State == pb.NodeState_NODE_STATE_DECOMMISSIONING || r.State == pb.NodeState_NODE_STATE_LOST
	res, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_SetNodeState{
		SetNodeState: &peerv1.MetaSetNodeState{NodeId: n.Id, State: r.State, MapMoves: leaves && meta.MapReplica(m.o.Map.Map(), n.Id) != nil},
	}})
	return &pb.SetNodeStateResponse{Revision: res.GetRevision()}, err
}

// mayBecome refuses what would harm or could never end, with the reason.
func (m *Master) mayBecome(n *pb.Node, state pb.NodeState) error {
	if state == pb.NodeState_NODE_STATE_LOST && !m.isSilent(n.Id) {
		return api.Errorf(api.CodeInvalid, "node %s is alive: stop it before it is replaced, or decommission it", n.Name)
	}
	return nil
}

func (m *Master) moveReplica(ctx context.Context, r *pb.MoveReplicaRequest) (*pb.MoveReplicaResponse, error) {
	s, err := m.shard(r.ShardId)
	if err != nil {
		return nil, err
	}
	from, err := m.node(r.From)
	if err != nil {
		return nil, err
	}
	to, err := m.node(r.To)
	if err != nil {
		return nil, err
	}
	holds := func(n *pb.Node) bool {
		return slices.ContainsFunc(s.Replicas, func(x *pb.Replica) bool { return x.NodeId == n.Id })
	}
	begun := func(x *pb.Replica) bool { return x.NodeId == to.Id && x.Replaces == from.Id }
	if slices.ContainsFunc(s.Replicas, begun) { // the order comes again
		return &pb.MoveReplicaResponse{Revision: m.o.Map.Map().GetRevision()}, nil
	}
	if !holds(from) || holds(to) {
		return nil, api.Errorf(api.CodeInvalid, "shard %d must have a replica on %s and none on %s", s.Id, from.Name, to.Name)
	}
	res, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_AddReplica{AddReplica: &peerv1.MetaAddReplica{
		ShardId: s.Id, Epoch: s.Epoch, NodeId: to.Id, Replaces: from.Id,
	}}})
	return &pb.MoveReplicaResponse{Revision: res.GetRevision()}, err
}

func (m *Master) transferLeader(ctx context.Context, r *pb.TransferLeaderRequest) (*pb.TransferLeaderResponse, error) {
	s, err := m.shard(r.ShardId)
	if err != nil {
		return nil, err
	}
	to, err := m.node(r.Node)
	if err != nil {
		return nil, err
	}
	return &pb.TransferLeaderResponse{}, m.lead(ctx, s, api.NodeID(to.Id))
}

func (m *Master) setRebalance(ctx context.Context, r *pb.SetRebalanceRequest) (*pb.SetRebalanceResponse, error) {
	res, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_SetRebalance{SetRebalance: &peerv1.MetaSetRebalance{Paused: r.Paused}}})
	return &pb.SetRebalanceResponse{Revision: res.GetRevision()}, err
}
