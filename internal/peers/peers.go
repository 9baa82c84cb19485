package peers

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/network"
)

// Lane separates traffic that must not wait behind other traffic: each lane to a node is a
// connection of its own.
type Lane uint8

// The lanes.
const (
	Control Lane = iota // heartbeats, votes, probes: small and urgent
	Log                 // entries
	Bulk                // snapshots
	Forward             // requests of clients
)

// Resolver tells where a node was last seen.
type Resolver interface {
	Address(node api.NodeID) (address string, ok bool)
}

// Options configures a Pool. Network and Resolver are required.
type Options struct {
	Network     network.Network
	Resolver    Resolver
	Credentials credentials.TransportCredentials // required
	// Cluster is the id of this node's cluster, empty while it has none. Every call carries it, and
	// an answer from another cluster is an error. Default: no id is sent or checked.
	Cluster func() string
}

func (o Options) withDefaults() Options {
	if o.Cluster == nil {
		o.Cluster = func() string { return "" }
	}
	return o
}

// Pool holds the connections. Safe for concurrent use.
type Pool struct {
	opts Options

	// mu is a leaf: no I/O is done while it is held.
	mu struct {
		sync.Mutex
		closed bool
		conns  map[connKey]*grpc.ClientConn
	}
}

type connKey struct {
	node api.NodeID
	lane Lane
}

// New makes an empty pool.
func New(o Options) *Pool {
	p := &Pool{opts: o.withDefaults()}
	p.mu.conns = make(map[connKey]*grpc.ClientConn)
	return p
}

// A peer that restarts must be found again well within one election timeout, so the backoff
// between dials stays far below gRPC's default of up to two minutes.
var redial = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}

const (
	dialTimeout      = 2 * time.Second
	keepaliveTime    = 10 * time.Second // the least that gRPC's client accepts
	keepaliveTimeout = 3 * time.Second
)

// Conn returns the connection to node on lane. It does not wait for the dial; calls on it do.
func (p *Pool) Conn(node api.NodeID, lane Lane) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return nil, fmt.Errorf("connect to node %s: %w", node, api.ErrShuttingDown)
	}
	key := connKey{node, lane}
	if c, ok := p.mu.conns[key]; ok {
		return c, nil
	}
	c, err := grpc.NewClient("passthrough:///"+string(node),
		grpc.WithTransportCredentials(p.opts.Credentials),
		grpc.WithContextDialer(p.dial),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: dialTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithInitialWindowSize(api.StreamWindowBytes),
		grpc.WithInitialConnWindowSize(api.ConnectionWindowBytes),
		grpc.WithUnaryInterceptor(p.onUnary),
		grpc.WithStreamInterceptor(p.onStream),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxMessageBytes), grpc.MaxCallSendMsgSize(api.MaxMessageBytes)),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to node %s: %w", node, err)
	}
	p.mu.conns[key] = c
	return c, nil
}

func (p *Pool) dial(ctx context.Context, node string) (net.Conn, error) {
	address, ok := p.opts.Resolver.Address(api.NodeID(node))
	if !ok {
		return nil, fmt.Errorf("no address known for node %s", node)
	}
	return p.opts.Network.Dial(ctx, address)
}

// Close closes every connection; calls in flight fail.
func (p *Pool) Close() {
	p.mu.Lock()
	conns := p.mu.conns
	p.mu.conns, p.mu.closed = nil, true
	p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}
