package rpc

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/access"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/vfs"
)

// everything registers the services that other packages bring.
func everything(o *Options) {
	o.Register = []func(grpc.ServiceRegistrar){
		func(r grpc.ServiceRegistrar) { peerv1.RegisterRaftServer(r, peerv1.UnimplementedRaftServer{}) },
		func(r grpc.ServiceRegistrar) { peerv1.RegisterMetaServer(r, peerv1.UnimplementedMetaServer{}) },
		func(r grpc.ServiceRegistrar) { peerv1.RegisterReplicaServer(r, peerv1.UnimplementedReplicaServer{}) },
		func(r grpc.ServiceRegistrar) { peerv1.RegisterMembersServer(r, peerv1.UnimplementedMembersServer{}) },
		func(r grpc.ServiceRegistrar) { pb.RegisterBackupServer(r, pb.UnimplementedBackupServer{}) },
		func(r grpc.ServiceRegistrar) { pb.RegisterAdminServer(r, pb.UnimplementedAdminServer{}) },
		func(r grpc.ServiceRegistrar) {
			peerv1.RegisterBootstrapServer(r, peerv1.UnimplementedBootstrapServer{})
		},
	}
}

// TestEveryMethodHasARow is invariant C4: the table and what is registered are the same.
func TestEveryMethodHasARow(t *testing.T) {
	f := startWith(t, everything)
	registered := map[string]bool{}
	for service, info := range f.server.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			name := "/" + service + "/" + m.Name
			registered[name] = true
			who := methods[name]
			switch {
			case who == nobody:
				t.Errorf("%s has no row", name)
			case strings.HasPrefix(service, "lightning.peer.") != (who == nodes || who == members):
				t.Errorf("%s: services between nodes, and no others, are for nodes", name)
			case who == anyone && strings.HasPrefix(service, "lightning."):
				t.Errorf("%s is open to anybody", name)
			}
		}
	}
	for name := range methods {
		if !registered[name] {
			t.Errorf("the row of %s is for a method that does not exist", name)
		}
	}
}

// stranger is a service that nobody put into the table.
var stranger = grpc.ServiceDesc{
	ServiceName: "lightning.v1.Stranger", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Do", Handler: func(_ any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		req := new(pb.GetRequest)
		if err := decode(req); err != nil {
			return nil, err
		}
		return interceptor(ctx, req, &grpc.UnaryServerInfo{FullMethod: "/lightning.v1.Stranger/Do"}, func(context.Context, any) (any, error) {
			panic("it was called")
		})
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Stream", ServerStreams: true, Handler: func(any, grpc.ServerStream) error { panic("it was called") }}},
}

func TestAMethodWithoutARowIsNobodys(t *testing.T) {
	f := startWith(t, func(o *Options) {
		o.Register = []func(grpc.ServiceRegistrar){func(r grpc.ServiceRegistrar) { r.RegisterService(&stranger, nil) }}
	})
	err := f.conn.Invoke(t.Context(), "/lightning.v1.Stranger/Do", &pb.GetRequest{}, &pb.GetResponse{})
	if status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
	stream, err := f.conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/lightning.v1.Stranger/Stream")
	if err == nil {
		err = stream.RecvMsg(&pb.GetResponse{})
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
	err = f.conn.Invoke(t.Context(), "/lightning.v1.KV/Nothing", &pb.GetRequest{}, &pb.GetResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Error("a method that does not exist:", err)
	}
}

func passwords(t *testing.T, c clock.Clock) *access.Passwords {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(fs, "d", "passwords", []byte("right\n")); err != nil {
		t.Fatal(err)
	}
	p, err := access.Open(access.Options{File: "d/passwords", FS: fs, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func with(t *testing.T, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), pairs...)
}

func TestClientsShowThePassword(t *testing.T) {
	f := startWith(t, func(o *Options) { o.Access = passwords(t, clock.NewManual(time.UnixMilli(1))) })
	kv := pb.NewKVClient(f.conn)
	for bearer, want := range map[string]codes.Code{
		"Bearer right": codes.OK, "bearer right": codes.OK, "Bearer wrong": codes.Unauthenticated, "right": codes.Unauthenticated,
		"Basic right": codes.Unauthenticated, "Bearer": codes.Unauthenticated, "Bearer ": codes.Unauthenticated,
	} {
		_, err := kv.Get(with(t, "authorization", bearer), &pb.GetRequest{Key: []byte("k")})
		if status.Code(err) != want {
			t.Errorf("%q: %v", bearer, err)
		}
		if want != codes.OK && api.CodeOf(api.FromStatus(err, false)) != api.CodeUnauthorized {
			t.Errorf("C1: %q: %v has no details", bearer, err)
		}
	}
	if _, err := kv.Get(t.Context(), &pb.GetRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Error("no password:", err)
	}
	if _, err := kv.Get(with(t, "authorization", "Bearer right", "authorization", "Bearer right"), &pb.GetRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Error("two passwords:", err)
	}
	if _, err := grpc_health_v1.NewHealthClient(f.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Error("a probe:", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	refused := 0
	for _, o := range f.seen {
		if o.code == api.CodeUnauthorized && o.protocol == "grpc" && o.op == "get" {
			refused++
		}
	}
	if refused != 7 {
		t.Errorf("%d refusals were observed of 7: %v", refused, f.seen)
	}
}

func TestAConnectionThatIsKnownDoesNotWaitForThoseWhoGuess(t *testing.T) {
	f := startWith(t, func(o *Options) { o.Access = passwords(t, clock.NewManual(time.UnixMilli(1))) })
	kv := pb.NewKVClient(f.conn)
	get := func(password string) codes.Code {
		_, err := kv.Get(with(t, "authorization", "Bearer "+password), &pb.GetRequest{Key: []byte("k")})
		return status.Code(err)
	}
	if got := get("right"); got != codes.OK {
		t.Fatal(got)
	}
	for range 5 {
		get("wrong")
	}
	if got := get("wrong"); got != codes.ResourceExhausted {
		t.Error("who guesses does not wait:", got)
	}
	if got := get("right"); got != codes.OK {
		t.Error("who is known waits:", got)
	}
}

func TestNodesOfAnotherClusterAreRefusedAndLogged(t *testing.T) {
	var log strings.Builder
	var own atomic.Value
	own.Store("")
	f := startWith(t, func(o *Options) {
		everything(o)
		o.Cluster = func() string { return own.Load().(string) }
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.Access = passwords(t, nil)
	})
	register := func(pairs ...string) (codes.Code, metadata.MD) {
		var header metadata.MD
		_, err := peerv1.NewMetaClient(f.conn).Register(with(t, pairs...), &peerv1.RegisterRequest{}, grpc.Header(&header))
		return status.Code(err), header
	}
	if got, _ := register(peers.ClusterHeader, "green"); got != codes.Unimplemented {
		t.Error("a node that has no cluster yet:", got)
	}
	own.Store("blue")
	for cluster, want := range map[string]codes.Code{"blue": codes.Unimplemented, "green": codes.PermissionDenied} {
		if got, _ := register(peers.ClusterHeader, cluster); got != want {
			t.Errorf("%s: %v, want %v", cluster, got, want)
		}
	}
	got, header := register()
	if got != codes.Unimplemented || len(header.Get(peers.ClusterHeader)) != 1 || header.Get(peers.ClusterHeader)[0] != "blue" {
		t.Error("a node that has no cluster yet is not told ours:", got, header)
	}
	if !strings.Contains(log.String(), "belongs to cluster blue, not to green") {
		t.Error(log.String())
	}
	if _, err := pb.NewClusterClient(f.conn).Status(with(t, peers.ClusterHeader, "blue"), &pb.StatusRequest{}); err != nil {
		t.Error("a node may not ask what clients may:", err)
	}
	if _, err := pb.NewClusterClient(f.conn).Status(with(t, peers.ClusterHeader, "green"), &pb.StatusRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Error("a stranger asks what clients may:", err)
	}
}

// TestWhoDoesNotNameTheClusterChangesNoMembers, with or without TLS.
func TestWhoDoesNotNameTheClusterChangesNoMembers(t *testing.T) {
	f := startWith(t, func(o *Options) {
		everything(o)
		o.Cluster = func() string { return "blue" }
	})
	for _, c := range []struct {
		pairs []string
		want  codes.Code
	}{{nil, codes.PermissionDenied}, {[]string{peers.ClusterHeader, "green"}, codes.PermissionDenied}, {[]string{peers.ClusterHeader, "blue"}, codes.Unimplemented}} {
		_, err := peerv1.NewMembersClient(f.conn).ChangeMembers(with(t, c.pairs...), &peerv1.ChangeMembersRequest{GroupId: 1})
		if got := status.Code(err); got != c.want {
			t.Errorf("with %q: %v, want %v", c.pairs, got, c.want)
		}
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	f := start(t)
	_, err := pb.NewKVClient(f.conn).Get(with(t, "x", strings.Repeat("x", 2*maxHeaderBytes)), &pb.GetRequest{Key: []byte("k")})
	if err == nil {
		t.Fatal("headers of any size are taken in")
	}
	if _, err := pb.NewKVClient(f.conn).Get(t.Context(), &pb.GetRequest{Key: []byte("k")}); err != nil {
		t.Error(err)
	}
}

type fixed string

func (f fixed) Address(api.NodeID) (string, bool) { return string(f), true }

func newPool(address string, cluster func() string) *peers.Pool {
	return peers.New(peers.Options{
		Network: network.TCP{}, Resolver: fixed(address), Credentials: insecure.NewCredentials(), Cluster: cluster,
	})
}

// TestThePoolRefusesAnswersOfAnotherCluster is the other side's check.
func TestThePoolRefusesAnswersOfAnotherCluster(t *testing.T) {
	theirs := startWith(t, func(o *Options) { everything(o); o.Cluster = func() string { return "green" } })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- theirs.server.Serve(ln) }()
	t.Cleanup(func() {
		if err := theirs.server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var own atomic.Value
	own.Store("")
	pool := newPool(ln.Addr().String(), func() string { return own.Load().(string) })
	t.Cleanup(pool.Close)
	conn, err := pool.Conn("b", peers.Control)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() codes.Code {
		_, err := pb.NewClusterClient(conn).Status(t.Context(), &pb.StatusRequest{})
		return status.Code(err)
	}
	if got := ask(); got != codes.OK {
		t.Fatal(got)
	}
	own.Store("blue")
	if got := ask(); got != codes.PermissionDenied {
		t.Error("an answer of another cluster is taken:", got)
	}
	theirs.kv.items = []api.Item{{Key: []byte("k"), Found: true}}
	stream, err := pb.NewKVClient(conn).Scan(t.Context(), &pb.ScanRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("a stream of another cluster is read")
	}
}
