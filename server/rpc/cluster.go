package rpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/clock"
)

// clusterService is lightning.v1.Cluster.
type clusterService struct {
	pb.UnimplementedClusterServer
	server *Server
}

// The wait of GetMap.
const (
	// maxMapWait bounds a wait without a deadline, so that a client that is gone is noticed.
	maxMapWait = 30 * time.Second
	// mapAnswerTime is left of the deadline for the answer to arrive.
	mapAnswerTime = 100 * time.Millisecond
)

// GetMap implements pb.ClusterServer.
func (c clusterService) GetMap(ctx context.Context, req *pb.GetMapRequest) (*pb.GetMapResponse, error) {
	view := c.server.opts.View
	m := view.Map()
	if m == nil || req.AfterRevision > 0 && m.Revision <= req.AfterRevision {
		newer, err := c.await(ctx, req.AfterRevision)
		if err != nil {
			return nil, err
		}
		if newer != nil {
			m = newer
		}
	}
	if m == nil {
		return nil, api.Errorf(api.CodeNotReady, "the cluster has not formed")
	}
	return &pb.GetMapResponse{Map: m, Leaders: c.server.opts.Status.Leaders(), MasterId: string(view.Master())}, nil
}

// await waits for a map newer than after; nil when none came in time.
func (c clusterService) await(ctx context.Context, after uint64) (*pb.ClusterMap, error) {
	limit := maxMapWait
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, deadline.Sub(clock.Real{}.Now())-mapAnswerTime) // as the deadline, by the machine's clock
	}
	wait, cancel := context.WithTimeout(ctx, max(limit, 0))
	defer cancel()
	stop := context.AfterFunc(c.server.closing, cancel)
	defer stop()
	m, err := c.server.opts.View.Wait(wait, after)
	switch {
	case err == nil:
		return m, nil
	case c.server.closing.Err() != nil:
		return nil, api.Errorf(api.CodeShuttingDown, "the node is stopping")
	case ctx.Err() == nil && (wait.Err() != nil || errors.Is(err, context.DeadlineExceeded)):
		return nil, nil
	}
	return nil, err
}

// Status implements pb.ClusterServer.
func (c clusterService) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return c.server.opts.Status.Status(), nil
}

// ClearCaches implements pb.ClusterServer.
func (c clusterService) ClearCaches(ctx context.Context, req *pb.ClearCachesRequest) (*pb.ClearCachesResponse, error) {
	if c.server.opts.ClearCaches == nil {
		return c.UnimplementedClusterServer.ClearCaches(ctx, req)
	}
	return c.server.opts.ClearCaches(), nil
}

// healthService is the standard health service. A node serves when it is ready; all of its
// services are ready together.
type healthService struct {
	grpc_health_v1.UnimplementedHealthServer
	server *Server
}

func (h healthService) status(service string) (grpc_health_v1.HealthCheckResponse_ServingStatus, bool) {
	switch service {
	case "", pb.KV_ServiceDesc.ServiceName, pb.Cluster_ServiceDesc.ServiceName:
	default:
		return grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN, false
	}
	if h.server.closing.Err() != nil || h.server.opts.Status.Ready() != nil {
		return grpc_health_v1.HealthCheckResponse_NOT_SERVING, true
	}
	return grpc_health_v1.HealthCheckResponse_SERVING, true
}

// Check implements grpc_health_v1.HealthServer.
func (h healthService) Check(_ context.Context, req *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	st, known := h.status(req.Service)
	if !known {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &grpc_health_v1.HealthCheckResponse{Status: st}, nil
}

// healthInterval is how often Watch looks: as long as a heartbeat, after which a lost leader shows.
const healthInterval = 500 * time.Millisecond

// Watch implements grpc_health_v1.HealthServer.
func (h healthService) Watch(req *grpc_health_v1.HealthCheckRequest, stream grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	last := grpc_health_v1.HealthCheckResponse_UNKNOWN
	for {
		if st, _ := h.status(req.Service); st != last {
			if err := stream.Send(&grpc_health_v1.HealthCheckResponse{Status: st}); err != nil {
				return err
			}
			last = st
		}
		select {
		case <-ticker.C:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-h.server.closing.Done():
			return api.Errorf(api.CodeShuttingDown, "the node is stopping")
		}
	}
}
