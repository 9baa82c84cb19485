package pledge

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
)

// Service is peerv1.Bootstrap: it answers peers from a Store, before and after the cluster forms.
type Service struct {
	peerv1.UnimplementedBootstrapServer
	store *Store
}

// NewService makes the service.
func NewService(s *Store) *Service { return &Service{store: s} }

// RegisterServices adds the service to a gRPC server.
func (s *Service) RegisterServices(r grpc.ServiceRegistrar) { peerv1.RegisterBootstrapServer(r, s) }

// Pledge implements peerv1.BootstrapServer.
func (s *Service) Pledge(_ context.Context, r *peerv1.PledgeRequest) (*peerv1.BootstrapState, error) {
	state, err := s.store.Pledge(pledgeOf(r.GetPledge()))
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return state.message(), nil
}

// Show implements peerv1.BootstrapServer.
func (s *Service) Show(context.Context, *peerv1.ShowRequest) (*peerv1.BootstrapState, error) {
	state, err := s.store.show()
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return state.message(), nil
}

// Caller asks other nodes. An answer comes from the node that was asked and no other.
type Caller interface {
	Show(ctx context.Context, node api.NodeID) (State, error)
	// Pledge proposes p and returns what node holds afterwards.
	Pledge(ctx context.Context, node api.NodeID, p Pledge) (State, error)
}

type grpcCaller struct{ pool *peers.Pool }

// NewCaller returns the Caller that uses the control connections of pool.
func NewCaller(pool *peers.Pool) Caller { return grpcCaller{pool} }

func (c grpcCaller) Show(ctx context.Context, node api.NodeID) (State, error) {
	conn, err := c.pool.Conn(node, peers.Control)
	if err != nil {
		return State{}, err
	}
	return answer(node)(peerv1.NewBootstrapClient(conn).Show(ctx, &peerv1.ShowRequest{}))
}

func (c grpcCaller) Pledge(ctx context.Context, node api.NodeID, p Pledge) (State, error) {
	conn, err := c.pool.Conn(node, peers.Control)
	if err != nil {
		return State{}, err
	}
	return answer(node)(peerv1.NewBootstrapClient(conn).Pledge(ctx, &peerv1.PledgeRequest{Pledge: p.record()}))
}

// answer checks who answered: an address may have passed to another node.
func answer(node api.NodeID) func(*peerv1.BootstrapState, error) (State, error) {
	return func(m *peerv1.BootstrapState, err error) (State, error) {
		if err != nil {
			return State{}, api.FromStatus(err, false)
		}
		if m.GetNodeId() != string(node) {
			return State{}, fmt.Errorf("asked node %s, %s answered", node, m.GetNodeId())
		}
		if m.GetCluster() != nil && m.GetCluster().GetClusterId() == "" {
			return State{}, fmt.Errorf("node %s belongs to a cluster without an id", node)
		}
		return stateOf(m), nil
	}
}
