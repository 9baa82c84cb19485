package master

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
)

// Connector gives connections to nodes, this one among them; *peers.Pool implements it.
type Connector interface {
	Conn(node api.NodeID, lane peers.Lane) (*grpc.ClientConn, error)
}

// Remote gives orders to the leaders of groups over gRPC. It implements Groups.
type Remote struct {
	Peers Connector
	// Leader is who leads a shard as this node believes, empty when unknown.
	Leader func(api.ShardID) api.NodeID
}

// Members implements Groups.
func (r *Remote) Members(ctx context.Context, s *pb.Shard) (*peerv1.GroupMembers, error) {
	var answer *peerv1.GroupMembers
	err := r.atLeader(ctx, s, func(c peerv1.MembersClient) (err error) {
		attempt, cancel := context.WithTimeout(ctx, reportTimeout/2) // a node that is cut off must not take it all
		defer cancel()
		answer, err = c.GetMembers(attempt, &peerv1.GetMembersRequest{GroupId: s.Id})
		return err
	})
	return answer, err
}

// Change implements Groups.
func (r *Remote) Change(ctx context.Context, s *pb.Shard, c *peerv1.ChangeMembersRequest) error {
	return r.atLeader(ctx, s, func(client peerv1.MembersClient) error {
		_, err := client.ChangeMembers(ctx, c)
		return err
	})
}

// Transfer implements Groups.
func (r *Remote) Transfer(ctx context.Context, s *pb.Shard, to api.NodeID) error {
	return r.atLeader(ctx, s, func(c peerv1.MembersClient) error {
		_, err := c.TransferLeadership(ctx, &peerv1.TransferLeadershipRequest{GroupId: s.Id, NodeId: string(to)})
		return err
	})
}

// atLeader asks the node that should lead, follows its hint, and then asks the other holders, each once.
func (r *Remote) atLeader(ctx context.Context, s *pb.Shard, ask func(peerv1.MembersClient) error) error {
	queue := []api.NodeID{r.Leader(api.ShardID(s.Id))}
	for _, replica := range s.Replicas {
		queue = append(queue, api.NodeID(replica.NodeId))
	}
	asked := map[api.NodeID]bool{"": true}
	var refusal error
	for len(queue) > 0 && ctx.Err() == nil {
		next := queue[0]
		queue = queue[1:]
		if asked[next] {
			continue
		}
		asked[next] = true
		conn, err := r.Peers.Conn(next, peers.Control)
		if err == nil {
			err = ask(peerv1.NewMembersClient(conn))
		}
		if err == nil {
			return nil
		}
		err = api.FromStatus(err, false) // orders may be repeated, so nothing is unknown
		var typed *api.Error
		switch {
		case errors.As(err, &typed) && typed.Code == api.CodeNotLeader:
			queue = append([]api.NodeID{typed.Leader}, queue...)
		case api.CodeOf(err) == api.CodeInvalid:
			return err // the leader's word
		case refusal == nil:
			refusal = err
		}
	}
	if refusal == nil {
		refusal = api.Errorf(api.CodeUnavailable, "no node leads shard %d as far as is known", s.Id)
	}
	return refusal
}
