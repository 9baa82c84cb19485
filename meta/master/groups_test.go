package master

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
)

// leaders are servers by node, of which some never answer.
type leaders map[api.NodeID]*grpc.ClientConn

// Conn implements Connector.
func (l leaders) Conn(node api.NodeID, _ peers.Lane) (*grpc.ClientConn, error) { return l[node], nil }

type answering struct {
	peerv1.UnimplementedMembersServer
	silent bool
}

func (a answering) wait(ctx context.Context) error {
	if a.silent {
		<-ctx.Done()
	}
	return ctx.Err()
}

// ChangeMembers implements peerv1.MembersServer.
func (a answering) ChangeMembers(ctx context.Context, _ *peerv1.ChangeMembersRequest) (*peerv1.ChangeMembersResponse, error) {
	return &peerv1.ChangeMembersResponse{}, a.wait(ctx)
}

// TransferLeadership implements peerv1.MembersServer.
func (a answering) TransferLeadership(ctx context.Context, _ *peerv1.TransferLeadershipRequest) (*peerv1.TransferLeadershipResponse, error) {
	return &peerv1.TransferLeadershipResponse{}, a.wait(ctx)
}

func serve(t *testing.T, a answering) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	peerv1.RegisterMembersServer(server, a)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestANodeThatDoesNotAnswerDoesNotUseUpTheTimeOfAnOrder: the node that was thought to lead is cut off.
func TestANodeThatDoesNotAnswerDoesNotUseUpTheTimeOfAnOrder(t *testing.T) {
	r := &Remote{
		Peers:   leaders{"a": serve(t, answering{silent: true}), "b": serve(t, answering{})},
		Leader:  func(api.ShardID) api.NodeID { return "a" },
		Attempt: 100 * time.Millisecond,
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := &pb.Shard{Id: 1, Replicas: []*pb.Replica{{NodeId: "a", Incarnation: 1}, {NodeId: "b", Incarnation: 1}}}
	for what, give := range map[string]func() error{
		"a change":   func() error { return r.Change(ctx, s, &peerv1.ChangeMembersRequest{GroupId: 1}) },
		"a transfer": func() error { return r.Transfer(ctx, s, "b") },
	} {
		err := give()
		for err != nil && ctx.Err() == nil { // on a busy machine the other node takes longer, too
			err = give()
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
