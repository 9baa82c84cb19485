package security

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/certs"
	"github.com/lightning-db/lightning/tests/cluster"
)

// raftCall opens the stream that nodes speak Raft on, sends a message that is none, and returns how
// the node ended it: one that takes the caller for a node finds fault with the message.
func raftCall(conn *grpc.ClientConn, pairs ...string) error {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), pairs...), limit)
	defer cancel()
	stream, err := peerv1.NewRaftClient(conn).Exchange(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&peerv1.RaftBatch{}); err != nil && err != io.EOF {
		return err
	}
	_, err = stream.Recv()
	return err
}

// TestWhoIsNoNodeOfThisClusterSpeaksNoRaft tries every way of not being one, and being one.
func TestWhoIsNoNodeOfThisClusterSpeaksNoRaft(t *testing.T) {
	c, s, ca := startSecure(t)
	n := c.Nodes[0]
	id := clusterID(t, n)
	other := cluster.NewAuthority(t)
	show := func(ca *certs.Authority, name string, role certs.Role) *tls.Config {
		return withPair(t, s.TLS(), cluster.Issue(t, ca, name, role))
	}
	old := show(ca, "lightning", certs.Node)
	old.MaxVersion = tls.VersionTLS12
	for _, who := range []struct {
		name    string
		config  *tls.Config
		pairs   []string
		code    codes.Code
		message string
		logged  bool
	}{
		{"nobody", s.TLS(), nil, codes.PermissionDenied, "no certificate", true},
		{"a client of the same authority", show(ca, "lightning", certs.Client), nil, codes.PermissionDenied, "lightning://lightning/client", true},
		{"a node of another authority", show(other, "lightning", certs.Node), nil, codes.Unavailable, "", false},
		{"a node of another cluster's name", show(ca, "other", certs.Node), nil, codes.PermissionDenied, "lightning://other/node", true},
		{"a node over TLS 1.2", old, nil, codes.PermissionDenied, "TLS 1.3", true},
		{"a node of another cluster's id", show(ca, "lightning", certs.Node), []string{"lightning-cluster", "another"}, codes.PermissionDenied, "not to another", true},
		{"a node", show(ca, "lightning", certs.Node), []string{"lightning-cluster", id}, codes.InvalidArgument, "", false},
	} {
		conn := dial(t, n.GRPC, who.config)
		cluster.Eventually(t, limit, fmt.Sprintf("%s: the log says %q", who.name, who.message), func() error {
			err := raftCall(conn, who.pairs...)
			if status.Code(err) != who.code || !strings.Contains(err.Error(), who.message) {
				t.Errorf("%s: %v, want %v and %q", who.name, err, who.code, who.message)
			} else if who.logged && !strings.Contains(n.LogTail(1<<20), who.message) {
				cluster.Wait(t.Context(), 200*time.Millisecond) // refusals are logged once a second
				return errors.New("it does not")
			}
			return nil
		})
	}
	plain, err := cluster.Dial(n.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := raftCall(plain); status.Code(err) != codes.Unavailable {
		t.Errorf("without TLS: %v", err)
	}
}

// TestANodeDoesNotJoinWithTheCredentialsOfAnother starts real nodes that are strangers: they come up,
// are refused, and say why; the cluster stays three nodes.
func TestANodeDoesNotJoinWithTheCredentialsOfAnother(t *testing.T) {
	c, s, _ := startSecure(t)
	otherCA := cluster.NewAuthority(t)
	strangers := map[string]struct {
		secure *cluster.Secure
		says   string
	}{
		"another authority": {cluster.NewSecure(t, otherCA), "unknown authority"},
		"no TLS":            {nil, ""},
	}
	for name, who := range strangers {
		if who.secure != nil {
			gossip, err := os.ReadFile(s.File(cluster.GossipKeys))
			if err != nil {
				t.Fatal(err)
			}
			who.secure.Swap(map[string][]byte{cluster.GossipKeys: gossip}) // the worst case: gossip lets it in
		}
		stranger := cluster.Start(t, cluster.Options{
			Nodes: 1, Alone: true, Secure: who.secure, Unstarted: true, Args: []string{"--log-level", "debug", "--join", c.Nodes[0].Addr},
		}).Nodes[0]
		stranger.Name = "stranger"
		stranger.Run("--name", "stranger")
		cluster.Eventually(t, limit, fmt.Sprintf("%s: the node says %q", name, who.says), func() error {
			if !strings.Contains(stranger.LogTail(1<<20), who.says) {
				return errors.New("it does not")
			}
			return nil
		})
		cluster.Wait(t.Context(), 2*time.Second) // more than a node takes that is let in
		if err := stranger.Ready(context.Background()); err == nil {
			t.Errorf("%s: the node became ready", name)
		}
		if known := len(c.Nodes[0].MustStatus().GetMap().GetNodes()); known != 3 {
			t.Errorf("%s: %d nodes in the map", name, known)
		}
		stranger.Kill()
	}
}

// TestPlaintextIsNoWayIn asks every port of a cluster with TLS without it.
func TestPlaintextIsNoWayIn(t *testing.T) {
	c, s, _ := startSecure(t)
	n := c.Nodes[0]
	conn, err := cluster.Dial(n.GRPC, grpc.WithPerRPCCredentials(cluster.Bearer(s.Password)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := pb.NewKVClient(conn).Get(ctx, &pb.GetRequest{Key: []byte("k")}); status.Code(err) != codes.Unavailable {
		t.Errorf("gRPC: %v", err)
	}
	for _, address := range []string{n.RESP, n.RESPCluster, n.HTTP} {
		tooOld := s.TLS()
		tooOld.MaxVersion = tls.VersionTLS11
		if conn, err := tls.Dial("tcp", address, tooOld); err == nil {
			t.Errorf("%s speaks TLS 1.1", address)
			conn.Close()
		}
	}
	anonymous := credentials.NewTLS(s.TLS())
	health, err := cluster.Dial(n.GRPC, grpc.WithTransportCredentials(anonymous))
	if err != nil {
		t.Fatal(err)
	}
	defer health.Close()
	if err := call(health, "/grpc.health.v1.Health/Check"); err != nil {
		t.Errorf("a probe without a password: %v", err)
	}
}
