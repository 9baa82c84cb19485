package master

import (
	"context"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/meta"
)

// RaiseClusterVersion implements pb.AdminServer.
func (s *Service) RaiseClusterVersion(ctx context.Context, r *pb.RaiseClusterVersionRequest) (*pb.RaiseClusterVersionResponse, error) {
	return at(ctx, s, r, (*Master).raiseClusterVersion, pb.AdminClient.RaiseClusterVersion)
}

func (m *Master) raiseClusterVersion(ctx context.Context, r *pb.RaiseClusterVersionRequest) (*pb.RaiseClusterVersionResponse, error) {
	if why := meta.MayRaise(m.o.Map.Map(), r.Version); why != "" {
		return nil, api.Errorf(api.CodeInvalid, "%s", why)
	}
	res, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_RaiseClusterVersion{
		RaiseClusterVersion: &peerv1.MetaRaiseClusterVersion{Version: r.Version},
	}})
	return &pb.RaiseClusterVersionResponse{Revision: res.GetRevision()}, err
}
