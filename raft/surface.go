package raft

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/vfs"
)

var errSurface = errors.New("not linked yet")

type HostOptions struct {
	Node      api.NodeID
	Dir       string
	FS        vfs.FS
	Storage   Storage
	Peers     *peers.Pool
	Clock     clock.Clock
	Logger    *slog.Logger
	OnFailure func(error)
	Timing    Timing
}

type Host struct{}

func NewHost(o HostOptions) (*Host, error)               { return nil, errSurface }
func (h *Host) RegisterServices(r grpc.ServiceRegistrar) {}
func (h *Host) Start(o GroupOptions) (*Group, error)     { return nil, errSurface }
func (h *Host) Suspect(node api.NodeID)                  {}
func (h *Host) Close() error                             { return nil }

// ServerOptions are what a gRPC server that carries RegisterServices needs.
func ServerOptions() []grpc.ServerOption { return nil }

type GroupOptions struct {
	ID           GroupID
	Incarnation  uint64
	Voters       []ReplicaID
	StateMachine StateMachine
	Tick         func() []byte
	OnLeader     func(term api.Term)
}

type Group struct{}

type Proposal struct{}

func (g *Group) Propose(data []byte) *Proposal                          { return nil }
func (p *Proposal) Wait(ctx context.Context) (any, api.Index, error)    { return nil, 0, errSurface }
func (g *Group) ReadIndex(ctx context.Context) (api.Index, error)       { return 0, errSurface }
func (g *Group) WaitApplied(ctx context.Context, index api.Index) error { return errSurface }
func (g *Group) Leader() (api.NodeID, api.Term)                         { return "", 0 }
func (g *Group) IsReadyLeader() bool                                    { return false }
func (g *Group) ID() GroupID                                            { return 0 }
func (g *Group) Replica() ReplicaID                                     { return ReplicaID{} }
func (g *Group) Status() GroupStatus                                    { return GroupStatus{} }
func (g *Group) TransferLeadership(ctx context.Context) error           { return errSurface }
func (g *Group) Snapshot() error                                        { return errSurface }
func (g *Group) Close() error                                           { return nil }

type GroupStatus struct {
	Group              GroupID
	Replica            ReplicaID
	Role               string
	Ready              bool
	Leader             api.NodeID
	Term               api.Term
	Commit             api.Index
	Applied            api.Index
	Durable            api.Index
	FirstLog           api.Index
	LastLog            api.Index
	Voters             []ReplicaID
	SnapshotsInstalled uint64
	SnapshotsSent      uint64
	Elections          uint64
	Err                error
}
