package rpc

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
)

// Access checks the passwords of clients; *access.Passwords implements it.
type Access interface {
	// Required reports whether a client has to give a password.
	Required() bool
	// Check fails with api.CodeUnauthorized if the password is not the user's, and with
	// api.CodeOverloaded for a source that guessed too often.
	Check(ctx context.Context, user string, password []byte, source net.Addr) error
	// Matches is Check for a connection that gave the right password before.
	Matches(password []byte) bool
}

// caller is who may call a method.
type caller uint8

// The callers. A method that is not in the table is nobody's (C4).
const (
	nobody  caller = iota
	anyone         // probes and tools, which learn nothing of the data
	clients        // whoever has the password, and nodes
	nodes          // nodes of this cluster, and those that have no cluster yet
	members        // nodes that say that they are of this cluster: what they order changes replicas
)

// methods says who may call each method. A test compares it with what is registered.
var methods = map[string]caller{
	pb.KV_Get_FullMethodName:       clients,
	pb.KV_MultiGet_FullMethodName:  clients,
	pb.KV_Put_FullMethodName:       clients,
	pb.KV_Delete_FullMethodName:    clients,
	pb.KV_Increment_FullMethodName: clients,
	pb.KV_Batch_FullMethodName:     clients,
	pb.KV_Scan_FullMethodName:      clients,
	pb.KV_Stream_FullMethodName:    clients,
	pb.KV_Upload_FullMethodName:    clients,
	pb.KV_Download_FullMethodName:  clients,

	pb.Cluster_GetMap_FullMethodName:      clients,
	pb.Cluster_Status_FullMethodName:      clients,
	pb.Cluster_ClearCaches_FullMethodName: clients,

	pb.Admin_SetNodeState_FullMethodName:        clients,
	pb.Admin_MoveReplica_FullMethodName:         clients,
	pb.Admin_TransferLeader_FullMethodName:      clients,
	pb.Admin_SetRebalance_FullMethodName:        clients,
	pb.Admin_RaiseClusterVersion_FullMethodName: clients,
	pb.Admin_ClusterStatus_FullMethodName:       clients,
	pb.Admin_ExplainShard_FullMethodName:        clients,
	pb.Admin_SplitShard_FullMethodName:          clients,

	pb.Backup_BackupShard_FullMethodName: clients,

	peerv1.Forward_Apply_FullMethodName:     nodes,
	peerv1.Forward_Get_FullMethodName:       nodes,
	peerv1.Forward_Reads_FullMethodName:     nodes,
	peerv1.Forward_Parts_FullMethodName:     nodes,
	peerv1.Forward_ScanPage_FullMethodName:  nodes,
	peerv1.Forward_Count_FullMethodName:     nodes,
	peerv1.Forward_ReadIndex_FullMethodName: nodes,
	peerv1.Forward_Cursor_FullMethodName:    nodes,

	peerv1.Replica_Digest_FullMethodName:             members,
	peerv1.Replica_Fence_FullMethodName:              members,
	peerv1.Replica_Checkpoint_FullMethodName:         members,
	peerv1.Members_GetMembers_FullMethodName:         members,
	peerv1.Members_ChangeMembers_FullMethodName:      members,
	peerv1.Members_TransferLeadership_FullMethodName: members,
	peerv1.Members_GetRoom_FullMethodName:            members,
	peerv1.Members_SplitShard_FullMethodName:         members,
	peerv1.Bootstrap_Pledge_FullMethodName:           nodes,
	peerv1.Bootstrap_Show_FullMethodName:             nodes,
	peerv1.Meta_Register_FullMethodName:              nodes,
	peerv1.Raft_Exchange_FullMethodName:              nodes,
	peerv1.Raft_InstallSnapshot_FullMethodName:       nodes,

	"/grpc.health.v1.Health/Check":                                   anyone,
	"/grpc.health.v1.Health/List":                                    anyone,
	"/grpc.health.v1.Health/Watch":                                   anyone,
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      anyone,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": anyone,
}

// onHeaders authorizes a call when its headers are there, before any of its body is taken in: who
// may not call costs no memory. Calls of unknown methods go on to be told so.
func (s *Server) onHeaders(ctx context.Context, info *tap.Info) (context.Context, error) {
	if methods[info.FullMethodName] == nobody {
		return ctx, nil
	}
	began := s.opts.Clock.Now()
	if err := s.authorize(ctx, info.FullMethodName, info.Header); err != nil {
		s.observe(info.FullMethodName, began, err)
		return nil, api.ToStatus(err)
	}
	v := visitOf(ctx)
	if methods[info.FullMethodName] == anyone {
		var err error
		if ctx, err = v.enter(ctx); err != nil {
			return nil, api.ToStatus(err)
		}
	} else if v != nil {
		v.trusted.Store(true)
	}
	return context.WithValue(ctx, admittedKey{}, info.FullMethodName), nil
}

// admittedKey finds in a call's context the method that onHeaders admitted it to.
type admittedKey struct{}

// admitted fails unless onHeaders let the call pass (C4). The answer will name the cluster.
func (s *Server) admitted(ctx context.Context, method string) error {
	if ctx.Value(admittedKey{}) != method {
		return api.Errorf(api.CodeDenied, "nobody may call %s", method)
	}
	if own := s.opts.Cluster(); own != "" && methods[method] != anyone {
		// It fails only when the header was sent already, which nothing before does.
		_ = grpc.SetHeader(ctx, metadata.Pairs(peers.ClusterHeader, own))
	}
	return nil
}

// authorize fails unless the caller of method may call it.
func (s *Server) authorize(ctx context.Context, method string, md metadata.MD) error {
	switch methods[method] {
	case anyone:
		return nil
	case clients:
		if s.opts.Access == nil || !s.opts.Access.Required() || s.isNode(ctx, md) == nil {
			return nil
		}
		return s.checkBearer(ctx, md)
	case nodes, members:
		return s.checkNode(ctx, method, md)
	}
	return api.Errorf(api.CodeDenied, "nobody may call %s", method)
}

// checkNode admits nodes of this cluster and logs who else tries.
func (s *Server) checkNode(ctx context.Context, method string, md metadata.MD) error {
	if s.opts.TLS != nil {
		if err := s.isNode(ctx, md); err != nil {
			s.warnRefused(ctx, method, err)
			return api.Errorf(api.CodeDenied, "only nodes of this cluster may call %s: %w", method, err)
		}
	}
	own, theirs := s.opts.Cluster(), md.Get(peers.ClusterHeader)
	if len(theirs) == 0 && methods[method] == members {
		err := api.Errorf(api.CodeDenied, "only nodes of this cluster may call %s: the call has no metadata '%s'", method, peers.ClusterHeader)
		s.warnRefused(ctx, method, err)
		return err
	}
	if own != "" && len(theirs) > 0 && theirs[0] != own {
		err := api.Errorf(api.CodeDenied, "this node belongs to cluster %s, not to %s", own, theirs[0])
		s.warnRefused(ctx, method, err)
		return err
	}
	return nil
}

var errNoTLS = errors.New("the connection has no TLS")

// isNode fails unless a node of this cluster is calling. Without TLS nobody can prove that he is
// one; a call that carries this cluster's id is taken for a node's then, as checkNode does.
func (s *Server) isNode(ctx context.Context, md metadata.MD) error {
	if s.opts.TLS == nil {
		theirs := md.Get(peers.ClusterHeader)
		if own := s.opts.Cluster(); own != "" && len(theirs) > 0 && theirs[0] == own {
			return nil
		}
		return errNoTLS
	}
	v := visitOf(ctx)
	if v == nil {
		return errNoTLS
	}
	info, ok := v.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return errNoTLS
	}
	return s.opts.CheckPeer(&info.State)
}

// checkBearer wants "authorization: Bearer <password>". Who gave the right password on this
// connection before does not wait because others guess from the same address.
func (s *Server) checkBearer(ctx context.Context, md metadata.MD) error {
	values := md.Get("authorization")
	if len(values) != 1 {
		return api.Errorf(api.CodeUnauthorized, "the call has no metadata 'authorization: Bearer <password>'")
	}
	scheme, password, found := strings.Cut(values[0], " ")
	if !found || !strings.EqualFold(scheme, "bearer") || password == "" {
		return api.Errorf(api.CodeUnauthorized, "the call's metadata 'authorization' is not 'Bearer <password>'")
	}
	v := visitOf(ctx)
	if v != nil && v.known.Load() && s.opts.Access.Matches([]byte(password)) {
		return nil
	}
	var source net.Addr
	if p, ok := peer.FromContext(ctx); ok {
		source = p.Addr
	}
	if err := s.opts.Access.Check(ctx, "", []byte(password), source); err != nil {
		return err
	}
	if v != nil {
		v.known.Store(true)
	}
	return nil
}

// refusalPause bounds what strangers can make us log.
const refusalPause = time.Second

// warnRefused says who was refused and why, at most once per refusalPause.
func (s *Server) warnRefused(ctx context.Context, method string, err error) {
	now := s.opts.Clock.Now().UnixMilli()
	last := s.refusedAt.Load()
	if age := now - last; age >= 0 && age < refusalPause.Milliseconds() || !s.refusedAt.CompareAndSwap(last, now) {
		return
	}
	from := "unknown"
	if p, ok := peer.FromContext(ctx); ok {
		from = p.Addr.String()
	}
	s.opts.Logger.Warn("a call that only nodes of this cluster may make was refused", "method", method, "from", from, "reason", err)
}
