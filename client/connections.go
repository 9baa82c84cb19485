package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/trace"
)

// A node that restarts should be found again well within one failover, so the pause between
// dials stays far below gRPC's default of up to two minutes.
var redial = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}

const (
	dialTimeout      = 2 * time.Second
	keepaliveTime    = 10 * time.Second // the least that gRPC's client accepts
	keepaliveTimeout = 3 * time.Second

	// suspicion is how long a node that broke off or did not answer is tried last. Long enough
	// that not every call runs into it, short enough that a node that is back gets work soon.
	suspicion = time.Second
)

// connections holds one gRPC connection per address. Safe for concurrent use.
type connections struct {
	opts Options

	// mu is a leaf: nothing is locked and no I/O is done while it is held. Dialing happens in
	// gRPC's own goroutines.
	mu struct {
		sync.RWMutex
		closed    bool
		byAddress map[string]*connection
	}
}

// connection leads to one address.
type connection struct {
	address string
	grpc    *grpc.ClientConn
	kv      pb.KVClient
	cluster pb.ClusterClient
	admin   pb.AdminClient
	backup  pb.BackupClient

	clock        clock.Clock
	suspectUntil atomic.Int64 // milliseconds since the epoch, 0 when there is no suspicion
	pace         pace

	calls atomic.Uint64 // ids of calls on streams
	// unaryUntil is when the node is asked for a stream again, milliseconds since the epoch.
	unaryUntil atomic.Int64

	// ctx ends when the connection is closed; loops are the goroutines of its streams.
	ctx    context.Context
	cancel context.CancelFunc
	loops  sync.WaitGroup // grows only under mu, or from a goroutine that it counts

	// mu is taken before stream.mu, never after it, and no I/O is done under it.
	mu struct {
		sync.Mutex
		closed bool
		stream *stream // that takes calls; nil until there is one
	}
}

func newConnections(o Options) *connections {
	cs := &connections{opts: o}
	cs.mu.byAddress = make(map[string]*connection)
	return cs
}

// to returns the connection to an address. It does not wait for the dial; calls on it do.
func (cs *connections) to(address string) (*connection, error) {
	cs.mu.RLock()
	conn, ok := cs.mu.byAddress[address]
	cs.mu.RUnlock()
	if ok {
		return conn, nil
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.mu.closed {
		return nil, errClosed()
	}
	if conn, ok := cs.mu.byAddress[address]; ok {
		return conn, nil
	}
	conn, err := cs.open(address)
	if err != nil {
		return nil, err
	}
	cs.mu.byAddress[address] = conn
	return conn, nil
}

func (cs *connections) open(address string) (*connection, error) {
	g, err := grpc.NewClient("passthrough:///"+address, append(cs.opts.dialOptions(),
		grpc.WithContextDialer(cs.opts.Dialer),
		grpc.WithChainUnaryInterceptor(traceUnary), grpc.WithChainStreamInterceptor(traceStream),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: dialTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithInitialWindowSize(api.StreamWindowBytes),
		grpc.WithInitialConnWindowSize(api.ConnectionWindowBytes),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(api.MaxMessageBytes), grpc.MaxCallSendMsgSize(api.MaxMessageBytes)),
		// Retries are this package's, which knows what may have run. gRPC still repeats a call
		// that it knows no server has processed.
		grpc.WithDisableServiceConfig(),
	)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	conn := &connection{
		address: address, grpc: g, clock: cs.opts.Clock,
		kv: pb.NewKVClient(g), cluster: pb.NewClusterClient(g), admin: pb.NewAdminClient(g), backup: pb.NewBackupClient(g),
	}
	conn.ctx, conn.cancel = context.WithCancel(context.Background())
	return conn, nil
}

// keep closes the connections to addresses that are not in the set. Calls on them fail, and are
// tried again elsewhere.
func (cs *connections) keep(addresses map[string]bool) {
	cs.mu.Lock()
	var closing []*connection
	for address, conn := range cs.mu.byAddress {
		if !addresses[address] {
			delete(cs.mu.byAddress, address)
			closing = append(closing, conn)
		}
	}
	cs.mu.Unlock()
	for _, conn := range closing {
		conn.close()
	}
}

func (cs *connections) close() {
	cs.mu.Lock()
	cs.mu.closed = true
	cs.mu.Unlock()
	cs.keep(nil)
}

// suspect is told that the node broke off or did not answer.
func (conn *connection) suspect() {
	conn.suspectUntil.Store(conn.clock.Now().Add(suspicion).UnixMilli())
}

// trust is told that the node answered.
func (conn *connection) trust() {
	if conn.suspectUntil.Load() != 0 {
		conn.suspectUntil.Store(0)
	}
}

func (conn *connection) suspected() bool {
	until := conn.suspectUntil.Load()
	return until != 0 && conn.clock.Now().UnixMilli() < until
}

// callOptions are what every attempt passes to gRPC.
type callOptions = []grpc.CallOption

// attempt is one call on one connection.
type attempt func(ctx context.Context, to *connection, o callOptions) error

// traced is ctx with the header of the trace that the caller is in, by OpenTelemetry.
func traced(ctx context.Context) context.Context {
	if parent := trace.Traceparent(ctx); parent != "" {
		return metadata.AppendToOutgoingContext(ctx, trace.Header, parent)
	}
	return ctx
}

func traceUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(traced(ctx), method, req, reply, cc, opts...)
}

func traceStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return open(traced(ctx), desc, cc, method, opts...)
}
