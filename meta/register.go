package meta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/build"
	"github.com/lightning-db/lightning/internal/peers"
)

// registerTimeout bounds one attempt at one node; a commit takes milliseconds, an election one or
// two seconds.
const registerTimeout = 3 * time.Second

// metaServer is peerv1.Meta.
type metaServer struct {
	peerv1.UnimplementedMetaServer
	follower *Follower
}

// Register implements peerv1.MetaServer.
func (s *metaServer) Register(ctx context.Context, r *peerv1.RegisterRequest) (*peerv1.RegisterResponse, error) {
	result, err := s.follower.registerHere(ctx, r.GetClusterId(), r.GetNode())
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.RegisterResponse{Result: result}, nil
}

// registerHere registers node if this node's meta replica leads.
func (f *Follower) registerHere(ctx context.Context, cluster string, node *pb.Node) (*peerv1.MetaResult, error) {
	s, local := f.source.Load(), f.local.Load()
	switch {
	case s == nil:
		return nil, api.Errorf(api.CodeNotReady, "this node belongs to no cluster yet")
	case s.cluster.ID != cluster:
		return result(peerv1.MetaCode_META_CODE_WRONG_CLUSTER), nil
	case local == nil:
		return nil, &api.Error{Code: api.CodeNotLeader, Message: "this node holds no replica of the meta group", Leader: f.Master()}
	}
	return local.meta.register(ctx, cluster, node)
}

// Register has the leader of the meta group put node into the map, or update its entry, trying
// every peer known until ctx ends. A node calls it at every start, because its addresses may have
// changed. A *KnownNameError ends it for good; a peer of another cluster does not, since gossip may
// show such peers beside ours. Start must have been called.
func (f *Follower) Register(ctx context.Context, node *pb.Node) error {
	node = proto.CloneOf(node)
	node.CommandVersion, node.NewestClusterVersion = commandVersion, build.ClusterVersion()
	last := errors.New("no peer is known")
	for {
		err := f.registerAnywhere(ctx, node)
		if err == nil || refused(err) {
			return err
		}
		if ctx.Err() == nil {
			last = err
		}
		pause(ctx, followPause)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("register node %q: %w (%w)", node.GetName(), ctx.Err(), last)
		case f.ctx.Err() != nil:
			return fmt.Errorf("register node %q: %w", node.GetName(), api.ErrShuttingDown)
		}
	}
}

func refused(err error) bool {
	var known *KnownNameError
	var removed *RemovedNodeError
	var version *VersionError
	return errors.As(err, &known) || errors.As(err, &removed) || errors.As(err, &version)
}

// registerAnywhere asks each node once, those that others name as the leader first.
func (f *Follower) registerAnywhere(ctx context.Context, node *pb.Node) error {
	var err error
	asked := map[api.NodeID]bool{}
	queue := append([]api.NodeID{f.o.Self, f.Master()}, f.peersToAsk()...)
	for len(queue) > 0 && ctx.Err() == nil && f.ctx.Err() == nil {
		next := queue[0]
		queue = queue[1:]
		if next == "" || asked[next] {
			continue
		}
		asked[next] = true
		err = f.registerAt(ctx, next, node)
		if err == nil || refused(err) {
			return err
		}
		f.o.Logger.Debug("meta: not registered", "at", next, "error", err)
		var notLeader *api.Error
		if errors.As(err, &notLeader) && notLeader.Code == api.CodeNotLeader && !asked[notLeader.Leader] {
			queue = slices.Insert(queue, 0, notLeader.Leader)
		}
	}
	return err
}

func (f *Follower) registerAt(ctx context.Context, at api.NodeID, node *pb.Node) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	s := f.source.Load()
	if s == nil {
		return api.ErrNotReady
	}
	cluster := s.cluster.ID
	if at == f.o.Self {
		r, err := f.registerHere(ctx, cluster, node)
		if err != nil {
			return err
		}
		return registration(r, cluster, node)
	}
	conn, err := f.o.Peers.Conn(at, peers.Control)
	if err != nil {
		return err
	}
	r, err := peerv1.NewMetaClient(conn).Register(ctx, &peerv1.RegisterRequest{ClusterId: cluster, Node: node})
	if err != nil {
		return api.FromStatus(err, true)
	}
	return registration(r.GetResult(), cluster, node)
}
