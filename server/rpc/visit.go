package rpc

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"

	"github.com/lightning-db/lightning/api"
)

// What a connection may cost that has made no call but those open to anybody (C6). Probes need a
// fraction of it. gRPC bounds a message and the calls of a connection for clients, which together
// are gigabytes.
const (
	maxStrangerBytes = 256 << 10 // received, from the handshake on
	maxStrangerCalls = 16        // at once
)

var errStranger = errors.New("a connection that has not authenticated sends too much")

// visit is what is known of one connection. It takes the place of the result of its handshake, by
// which calls find it.
type visit struct {
	credentials.AuthInfo // what the handshake found

	known   atomic.Bool // gave the right password
	trusted atomic.Bool // was authorized for a call, or nobody has to be
	taken   atomic.Int64
	calls   atomic.Int32 // that are open to anybody, under way
}

// visitOf is nil for a call without a connection.
func visitOf(ctx context.Context) *visit {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	v, _ := p.AuthInfo.(*visit)
	return v
}

// enter counts a call that is open to anybody, until leave is told of its end.
func (v *visit) enter(ctx context.Context) (context.Context, error) {
	if v == nil || v.trusted.Load() {
		return ctx, nil
	}
	if v.calls.Add(1) > maxStrangerCalls {
		v.calls.Add(-1)
		return nil, api.Errorf(api.CodeOverloaded, "a connection that has not authenticated may make %d calls at once", maxStrangerCalls)
	}
	return context.WithValue(ctx, enteredKey{}, v), nil
}

// enteredKey finds in a call's context the visit that counts it.
type enteredKey struct{}

// leave is told when calls end.
type leave struct{}

// TagConn implements stats.Handler.
func (leave) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (leave) HandleConn(context.Context, stats.ConnStats) {}

// TagRPC implements stats.Handler.
func (leave) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (leave) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if _, ended := event.(*stats.End); !ended {
		return
	}
	if v, ok := ctx.Value(enteredKey{}).(*visit); ok {
		v.calls.Add(-1)
	}
}

// reception shakes hands and begins a visit.
type reception struct {
	credentials.TransportCredentials
	open bool // nobody has to be authorized
}

// newReception is the transport's security: TLS, or none when no configuration is given.
func newReception(o *Options) reception {
	r := reception{insecure.NewCredentials(), o.Access == nil || !o.Access.Required()}
	if o.TLS != nil {
		r.TransportCredentials = credentials.NewTLS(o.TLS)
	}
	return r
}

// ServerHandshake implements credentials.TransportCredentials.
func (r reception) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	v := &visit{}
	v.trusted.Store(r.open)
	conn, info, err := r.TransportCredentials.ServerHandshake(&visitConn{raw, v})
	if err != nil {
		return nil, nil, err
	}
	v.AuthInfo = info
	return conn, v, nil
}

// Clone implements credentials.TransportCredentials.
func (r reception) Clone() credentials.TransportCredentials {
	return reception{r.TransportCredentials.Clone(), r.open}
}

// visitConn counts what a stranger sends.
type visitConn struct {
	net.Conn
	visit *visit
}

// Read implements net.Conn.
func (c *visitConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.visit.trusted.Load() && c.visit.taken.Add(int64(n)) > maxStrangerBytes {
		return 0, errStranger
	}
	return n, err
}
