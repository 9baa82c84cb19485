package fakecluster

import (
	"context"
	"fmt"
	"net"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// Address is where the node listens.
func (n *Node) Address() string { return n.address }

// ID is the node's id in the map.
func (n *Node) ID() api.NodeID { return n.id }

// SetIntercept puts f in front of the node's calls; nil removes it.
func (n *Node) SetIntercept(f Intercept) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.intercept = f
}

// SetRedirect makes the node refuse, with a hint, the calls for shards that it does not lead.
func (n *Node) SetRedirect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.redirect = true
}

// SetUnary makes the node one that is older than streams of calls.
func (n *Node) SetUnary() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.unary = true
}

// Start makes a stopped node serve again.
func (n *Node) Start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.listener != nil {
		return
	}
	n.mu.listener = bufconn.Listen(pipeBytes)
	n.mu.server = grpc.NewServer(
		grpc.UnaryInterceptor(n.unary), grpc.StreamInterceptor(n.stream), grpc.WaitForHandlers(true),
		grpc.InitialWindowSize(api.StreamWindowBytes), grpc.InitialConnWindowSize(api.ConnectionWindowBytes),
		grpc.MaxRecvMsgSize(api.MaxMessageBytes), grpc.MaxSendMsgSize(api.MaxMessageBytes))
	pb.RegisterKVServer(n.mu.server, n)
	pb.RegisterClusterServer(n.mu.server, n)
	go func(s *grpc.Server, l net.Listener) { _ = s.Serve(l) }(n.mu.server, n.mu.listener)
}

// Stop breaks every connection and refuses new ones, as a killed process does.
func (n *Node) Stop() {
	n.mu.Lock()
	listener, server := n.mu.listener, n.mu.server
	n.mu.listener, n.mu.server = nil, nil
	n.mu.Unlock()
	if listener != nil {
		server.Stop()
	}
}

// Cut breaks the connections that are open. The calls on them go on, their replies are lost.
func (n *Node) Cut() {
	n.mu.Lock()
	conns := n.mu.conns
	n.mu.conns = make(map[*conn]struct{})
	n.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close()
	}
}

// conn is the caller's end of a pipe.
type conn struct {
	net.Conn
	node *Node
}

func (n *Node) dial(ctx context.Context) (net.Conn, error) {
	n.mu.Lock()
	listener := n.mu.listener
	n.mu.Unlock()
	if listener == nil {
		return nil, fmt.Errorf("dial %s: connection refused", n.address)
	}
	pipe, err := listener.DialContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", n.address, err)
	}
	c := &conn{Conn: pipe, node: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.conns[c] = struct{}{}
	return c, nil
}

func (c *conn) Close() error {
	c.node.mu.Lock()
	delete(c.node.mu.conns, c)
	c.node.mu.Unlock()
	return c.Conn.Close()
}

func (n *Node) interceptor() Intercept {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.intercept
}

func (n *Node) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	next := func() (any, error) { return handle(ctx, request) }
	f := n.interceptor()
	if f == nil {
		f = passOn
	}
	response, err := f(ctx, path.Base(info.FullMethod), request, next)
	return response, api.ToStatus(err)
}

func (n *Node) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	next := func() (any, error) { return nil, handle(server, stream) }
	f := n.interceptor()
	if f == nil || info.FullMethod == pb.KV_Stream_FullMethodName { // each of its calls is intercepted
		f = passOn
	}
	_, err := f(stream.Context(), path.Base(info.FullMethod), nil, next)
	return api.ToStatus(err)
}

func passOn(_ context.Context, _ string, _ any, next func() (any, error)) (any, error) { return next() }
