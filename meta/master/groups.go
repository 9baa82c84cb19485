package master

import (
	"cmp"
	"context"
	"errors"
	"time"

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
	// Attempt bounds an order to one node, which may be cut off while another one leads. Default 4 s: that a learner has
	// caught up shows within an election timeout, and then there is a commit.
	Attempt time.Duration
}

const orderAttempt = 4 * time.Second

// Members implements Groups.
func (r *Remote) Members(ctx context.Context, s *pb.Shard) (*peerv1.GroupMembers, error) {
	var answer *peerv1.GroupMembers
	err := r.atLeader(ctx, s, reportTimeout/2, func(ctx context.Context, c peerv1.MembersClient) (err error) {
		answer, err = c.GetMembers(ctx, &peerv1.GetMembersRequest{GroupId: s.Id})
		return err
	})
	return answer, err
}

// Change implements Groups.
func (r *Remote) Change(ctx context.Context, s *pb.Shard, c *peerv1.ChangeMembersRequest) error {
	return r.atLeader(ctx, s, cmp.Or(r.Attempt, orderAttempt), func(ctx context.Context, client peerv1.MembersClient) error {
		_, err := client.ChangeMembers(ctx, c)
		return err
	})
}

// Split implements Groups. A leader that flushes much may take longer than one attempt; the next one finds it flushed.
func (r *Remote) Split(ctx context.Context, s *pb.Shard) error {
	return r.atLeader(ctx, s, cmp.Or(r.Attempt, orderAttempt), func(ctx context.Context, c peerv1.MembersClient) error {
		_, err := c.SplitShard(ctx, &peerv1.SplitShardRequest{GroupId: s.Id, Split: s.Split})
		return err
	})
}

// Transfer implements Groups.
func (r *Remote) Transfer(ctx context.Context, s *pb.Shard, to api.NodeID) error {
	return r.atLeader(ctx, s, cmp.Or(r.Attempt, orderAttempt), func(ctx context.Context, c peerv1.MembersClient) error {
		_, err := c.TransferLeadership(ctx, &peerv1.TransferLeadershipRequest{GroupId: s.Id, NodeId: string(to)})
		return err
	})
}

// Room implements Groups.
func (r *Remote) Room(ctx context.Context, node api.NodeID) (free, total int64, err error) {
	conn, err := r.Peers.Conn(node, peers.Control)
	if err != nil {
		return 0, 0, err
	}
	answer, err := peerv1.NewMembersClient(conn).GetRoom(ctx, &peerv1.GetRoomRequest{})
	if err != nil {
		return 0, 0, api.FromStatus(err, false)
	}
	return int64(answer.FreeBytes), int64(answer.TotalBytes), nil
}

// atLeader asks the node that should lead, follows its hint, and then asks the other holders, each once and for no longer
// than attempt.
func (r *Remote) atLeader(ctx context.Context, s *pb.Shard, attempt time.Duration, ask func(context.Context, peerv1.MembersClient) error) error {
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
			limited, cancel := context.WithTimeout(ctx, attempt)
			err = ask(limited, peerv1.NewMembersClient(conn))
			cancel()
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
