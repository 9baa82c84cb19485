package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/shard"
)

// replicaPeers reaches the replicas of shards on other nodes, so that they can compare themselves.
type replicaPeers struct{ pool *peers.Pool }

// Digest implements shard.Peers.
func (p replicaPeers) Digest(ctx context.Context, node api.NodeID, id api.ShardID, index api.Index) (shard.Digest, error) {
	client, err := p.client(node)
	if err != nil {
		return shard.Digest{}, err
	}
	d, err := client.Digest(ctx, &peerv1.ReplicaDigestRequest{ShardId: uint64(id), Index: uint64(index)})
	if err != nil {
		return shard.Digest{}, fmt.Errorf("ask node %s for a digest: %w", node, api.FromStatus(err, false))
	}
	return shard.Digest{Index: api.Index(d.Index), Sum: d.Sum, Version: d.Version}, nil
}

// Fence implements shard.Peers.
func (p replicaPeers) Fence(ctx context.Context, node api.NodeID, id api.ShardID, majority shard.Digest) error {
	client, err := p.client(node)
	if err != nil {
		return err
	}
	_, err = client.Fence(ctx, &peerv1.ReplicaDigest{ShardId: uint64(id), Index: uint64(majority.Index), Sum: majority.Sum, Version: majority.Version})
	if err != nil {
		return fmt.Errorf("fence the replica of shard %d on node %s: %w", id, node, api.FromStatus(err, false))
	}
	return nil
}

// Checkpoint implements shard.Peers. It gives up when nothing arrives for checkpointStall.
func (p replicaPeers) Checkpoint(ctx context.Context, node api.NodeID, id api.ShardID, w io.Writer) error {
	conn, err := p.pool.Conn(node, peers.Bulk)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stalled := time.AfterFunc(checkpointStall, cancel)
	defer stalled.Stop()
	parts, err := peerv1.NewReplicaClient(conn).Checkpoint(ctx, &peerv1.ReplicaCheckpointRequest{ShardId: uint64(id)})
	for err == nil {
		var part *peerv1.ReplicaCheckpointPart
		if part, err = parts.Recv(); err == nil {
			stalled.Reset(checkpointStall)
			_, err = w.Write(part.Data)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("fetch a checkpoint of shard %d from node %s: %w", id, node, api.FromStatus(err, false))
}

// members implements membersOf.
func (p replicaPeers) members(ctx context.Context, node api.NodeID, group raft.GroupID) (*peerv1.GroupMembers, error) {
	conn, err := p.pool.Conn(node, peers.Forward)
	if err != nil {
		return nil, err
	}
	m, err := peerv1.NewMembersClient(conn).GetMembers(ctx, &peerv1.GetMembersRequest{GroupId: uint64(group)})
	if err != nil {
		return nil, fmt.Errorf("ask for the members of group %s: %w", group, api.FromStatus(err, false))
	}
	return m, nil
}

// checkpointStall is how long a checkpoint may make no progress: longer than it takes to make a large one.
const checkpointStall = 2 * time.Minute

func (p replicaPeers) client(node api.NodeID) (peerv1.ReplicaClient, error) {
	conn, err := p.pool.Conn(node, peers.Forward)
	if err != nil {
		return nil, err
	}
	return peerv1.NewReplicaClient(conn), nil
}

// replicaService answers what replicaPeers of other nodes ask.
type replicaService struct {
	peerv1.UnimplementedReplicaServer
	replicas *replicas
}

// RegisterServices adds the service to a gRPC server.
func (r *replicas) RegisterServices(s grpc.ServiceRegistrar) {
	peerv1.RegisterReplicaServer(s, replicaService{replicas: r})
}

func (s replicaService) replica(id uint64) (*shard.Shard, error) {
	if found, ok := s.replicas.shard(api.ShardID(id)); ok {
		return found, nil
	}
	return nil, api.Errorf(api.CodeUnavailable, "no replica of shard %d is open here", id)
}

// Digest implements peerv1.ReplicaServer.
func (s replicaService) Digest(ctx context.Context, req *peerv1.ReplicaDigestRequest) (*peerv1.ReplicaDigest, error) {
	replica, err := s.replica(req.ShardId)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	d, err := replica.Digest(ctx, api.Index(req.Index))
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.ReplicaDigest{ShardId: req.ShardId, Index: uint64(d.Index), Sum: d.Sum, Version: d.Version}, nil
}

// Checkpoint implements peerv1.ReplicaServer.
func (s replicaService) Checkpoint(req *peerv1.ReplicaCheckpointRequest, to grpc.ServerStreamingServer[peerv1.ReplicaCheckpointPart]) error {
	replica, err := s.replica(req.ShardId)
	if err == nil {
		err = replica.SendCheckpoint(partWriter{to})
	}
	if err != nil {
		return api.ToStatus(err)
	}
	return nil
}

// partWriter makes messages of what is written.
type partWriter struct {
	to grpc.ServerStreamingServer[peerv1.ReplicaCheckpointPart]
}

// Write implements io.Writer.
func (w partWriter) Write(p []byte) (int, error) {
	if err := w.to.Send(&peerv1.ReplicaCheckpointPart{Data: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Fence implements peerv1.ReplicaServer.
func (s replicaService) Fence(ctx context.Context, req *peerv1.ReplicaDigest) (*peerv1.ReplicaFenceResponse, error) {
	replica, err := s.replica(req.ShardId)
	if err == nil {
		err = replica.Fence(ctx, shard.Digest{Index: api.Index(req.Index), Sum: req.Sum, Version: req.Version})
	}
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.ReplicaFenceResponse{}, nil
}
