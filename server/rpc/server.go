package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/trace"
)

// View is the cluster map as this node knows it; *meta.Follower implements it.
type View interface {
	Map() *pb.ClusterMap
	Wait(ctx context.Context, after uint64) (*pb.ClusterMap, error)
	Master() api.NodeID
}

// Status tells about this node; *server.Server implements it.
type Status interface {
	Status() *pb.StatusResponse
	Leaders() []*pb.ShardLeader
	Ready() error
}

// Options are the settings of a Server. KV, View and Status are required. Nothing in it changes
// while the server runs.
type Options struct {
	KV     KV
	View   View
	Status Status
	// Forward is peerv1.Forward of this node. Default: not served.
	Forward peerv1.ForwardServer
	// Backup streams shards. Default: not served.
	Backup Backer
	// ClearCaches drops what the engines of this node have cached. Default: not served.
	ClearCaches func() *pb.ClearCachesResponse
	// Register adds the services of other packages. Default: none.
	Register []func(grpc.ServiceRegistrar)
	// TLS secures the port; certificates that callers show must have been verified by it. Default:
	// no TLS, and the services between nodes are open to everybody.
	TLS *tls.Config
	// CheckPeer fails unless the connection is from a node of this cluster. Required with TLS.
	CheckPeer func(*tls.ConnectionState) error
	// Access decides who may call the services for clients. Default: everybody.
	Access Access
	// Cluster is the id of this node's cluster, empty while it has none. Calls of nodes of another
	// cluster are refused. Default: not checked.
	Cluster func() string
	// MaxConnectionAge is how long a connection is used, give or take a tenth, so that clients and
	// nodes meet new certificates. Default: 30 minutes.
	MaxConnectionAge time.Duration
	// MaxStreams bounds the requests that one connection may have at once. Default 1024.
	MaxStreams uint32
	// TransferSilence is how long the client of an upload may send nothing, and that of a download take
	// nothing. Default 15 s: longer than a network that works is silent, and short beside the time for
	// which a shard keeps what was uploaded.
	TransferSilence time.Duration
	// MaxTransferBytes bounds the memory of all uploads and downloads, of which those of one connection's downloads
	// may hold a half; what is beyond is refused as OVERLOADED. Default 96 MiB: a batch of the largest size and
	// thirty values that go piece by piece.
	MaxTransferBytes int
	// UploadTime is how long an upload takes at most, by default 90 s: a shard keeps parts for two minutes.
	UploadTime time.Duration

	// Observe is told of every request of KV, Cluster and Forward, but for the reads on a stream of
	// Forward, of which the node that sends them knows: the protocol ("grpc" or
	// "forward"), the method in lower case, the code of its error or empty, and the time it took.
	// Default: nobody is told.
	Observe func(protocol, op string, code api.Code, took time.Duration)
	// Tracer begins and goes on with the traces of requests. Default: none.
	Tracer *trace.Tracer
	Clock  clock.Clock  // default: the machine's
	Logger *slog.Logger // default: silence
}

func (o Options) withDefaults() Options {
	if o.MaxStreams == 0 {
		o.MaxStreams = 1024
	}
	if o.MaxConnectionAge == 0 {
		o.MaxConnectionAge = 30 * time.Minute
	}
	if o.TransferSilence == 0 {
		o.TransferSilence = 15 * time.Second
	}
	if o.MaxTransferBytes == 0 {
		o.MaxTransferBytes = 96 << 20
	}
	if o.UploadTime == 0 {
		o.UploadTime = 90 * time.Second
	}
	if o.Cluster == nil {
		o.Cluster = func() string { return "" }
	}
	if o.Observe == nil {
		o.Observe = func(string, string, api.Code, time.Duration) {}
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Server serves gRPC. Safe for concurrent use.
type Server struct {
	opts Options
	grpc *grpc.Server
	// closing ends the requests that only wait.
	closing context.Context
	cancel  context.CancelFunc
	readers sync.WaitGroup // of the streams of calls, and waits for clients
	ledger  ledger         // of the streams of calls
	// transfers counts the memory of uploads and downloads.
	transfers ledger
	downloads shares // of them that connections hold

	refusedAt atomic.Int64 // when a refusal was logged, in milliseconds since the epoch
}

// Keepalive. Clients and peers ping every 10 s; a server that finds that too often would cut
// them off, so it allows twice as many.
const (
	minPingInterval  = 5 * time.Second
	keepaliveTime    = 20 * time.Second
	keepaliveTimeout = 5 * time.Second
	handshakeTimeout = 5 * time.Second

	// ageGrace is how long requests may go on that began on a connection which is too old: the
	// longest that is meant to end, a snapshot between nodes, has that time.
	ageGrace = 30 * time.Minute

	// streamWorkers goroutines run the calls, so that a call finds a stack that has grown: to grow one was
	// an eighth of what a short call took. The stacks that stay take 2 MiB at most. When all are busy,
	// calls get goroutines of their own.
	streamWorkers = 128

	// maxHeaderBytes bounds the metadata of a call, which is taken in before anybody is known.
	maxHeaderBytes = 16 << 10
)

// New makes a Server. It starts the goroutines that run calls; Close ends them.
func New(o Options) *Server {
	o = o.withDefaults()
	s := &Server{opts: o, ledger: ledger{limit: maxUnreadBytes}, transfers: ledger{limit: int64(o.MaxTransferBytes)}}
	s.closing, s.cancel = context.WithCancel(context.Background())
	s.grpc = grpc.NewServer(
		grpc.Creds(newReception(&s.opts)),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(api.MaxMessageBytes),
		grpc.MaxSendMsgSize(api.MaxMessageBytes),
		grpc.InitialWindowSize(api.StreamWindowBytes),
		grpc.InitialConnWindowSize(api.ConnectionWindowBytes),
		grpc.MaxConcurrentStreams(s.opts.MaxStreams),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingInterval, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: keepaliveTime, Timeout: keepaliveTimeout,
			MaxConnectionAge: s.opts.MaxConnectionAge, MaxConnectionAgeGrace: ageGrace,
		}),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.StatsHandler(leave{}),
		grpc.InTapHandle(s.onHeaders),
		grpc.UnaryInterceptor(s.onUnary),
		grpc.StreamInterceptor(s.onStream),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
	)
	pb.RegisterKVServer(s.grpc, kvService{server: s, kv: s.opts.KV})
	pb.RegisterClusterServer(s.grpc, clusterService{server: s})
	if s.opts.Forward != nil {
		peerv1.RegisterForwardServer(s.grpc, s.opts.Forward)
	}
	if s.opts.Backup != nil {
		pb.RegisterBackupServer(s.grpc, backupService{server: s})
	}
	grpc_health_v1.RegisterHealthServer(s.grpc, healthService{server: s})
	for _, register := range s.opts.Register {
		register(s.grpc)
	}
	reflection.Register(s.grpc)
	return s
}

// Serve accepts connections until Close, then returns nil. It closes the listener.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.grpc.Serve(network.Bounded(ln)); err != nil && s.closing.Err() == nil {
		return fmt.Errorf("serve gRPC: %w", err)
	}
	return nil
}

// closeGrace is how long requests may take to end once Close is called. It is longer than what
// server.Server grants them. The streams of peers do not end by themselves.
const closeGrace = 3 * time.Second

// Close stops accepting, lets requests end, cancels what is left and waits for all handlers.
func (s *Server) Close() error {
	s.cancel()
	timer := time.AfterFunc(closeGrace, s.grpc.Stop)
	defer timer.Stop()
	s.grpc.GracefulStop()
	s.grpc.Stop()
	s.readers.Wait()
	return nil
}

func (s *Server) onUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (res any, err error) {
	began := s.opts.Clock.Now()
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(info.FullMethod, p)
		}
		s.observe(info.FullMethod, began, err)
		err = api.ToStatus(err)
	}()
	if err := s.admitted(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	ctx, span := s.traced(ctx, info.FullMethod)
	defer func() { span.End(err) }()
	return handler(ctx, req)
}

func (s *Server) onStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	began := s.opts.Clock.Now()
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(info.FullMethod, p)
		}
		switch info.FullMethod {
		case pb.KV_Stream_FullMethodName, peerv1.Forward_Reads_FullMethodName: // their calls are told of
		default:
			s.observe(info.FullMethod, began, err)
		}
		err = api.ToStatus(err)
	}()
	if err := s.admitted(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	if ctx, span := s.traced(stream.Context(), info.FullMethod); span != nil {
		defer func() { span.End(err) }()
		stream = tracedStream{stream, ctx}
	}
	return handler(srv, stream)
}

// panicked is the error of a handler that panicked, which is our bug (C3).
func (s *Server) panicked(method string, p any) error {
	s.opts.Logger.Error("a request panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return api.Errorf(api.CodeInternal, "internal error in %s; see the node's log", method)
}

// observe tells of requests to the services whose methods are known, so that nobody can make up
// metrics. The streams of other services last as long as their connections.
func (s *Server) observe(method string, began time.Time, err error) {
	service, op, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	protocol := ""
	switch service {
	case pb.KV_ServiceDesc.ServiceName, pb.Cluster_ServiceDesc.ServiceName:
		protocol = "grpc"
	case peerv1.Forward_ServiceDesc.ServiceName:
		protocol = "forward"
	default:
		return
	}
	code := api.CodeOf(err)
	if err != nil {
		if e, ok := api.FromStatus(err, false).(*api.Error); ok {
			code = e.Code
		}
	}
	s.opts.Observe(protocol, strings.ToLower(op), code, s.opts.Clock.Now().Sub(began))
}
