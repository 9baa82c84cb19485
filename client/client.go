package client

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/session"
	"github.com/lightning-db/lightning/router"
)

var _ api.KV = (*Client)(nil)

// Client talks to one cluster. Safe for concurrent use; a program needs one per cluster.
type Client struct {
	// Set by New, never written again.
	opts     Options
	router   *router.Router
	sessions *session.Allocator
	conns    *connections
	follower *follower

	// closing is closed by Close: nothing is retried any more and waits end.
	closing chan struct{}

	calls gate
}

// New makes a client. It does not wait for any node: connections are made when they are first
// needed, and the cluster map is fetched in the background.
func New(o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	o = o.withDefaults()
	c := &Client{
		opts:     o,
		router:   router.New(),
		sessions: session.New(o.entropySource(), o.Clock),
		conns:    newConnections(o),
		closing:  make(chan struct{}),
	}
	c.follower = startFollower(c.conns, c.router, o)
	return c, nil
}

// NewRequest gives out a request id before a write, for callers that want to retry a write whose
// outcome stayed unknown: put the id into Batch.Request, call Apply under it as often as needed,
// then release it. The write runs at most once, and a call after it ran returns what the first
// one did.
//
// Until release is called the cluster keeps the id's answer, and the session it belongs to can
// hand out only a few hundred further ids: release it when its outcome is known or does not
// matter any more. After release the id must not be used. The cluster forgets sessions after
// hours; under an id that is older, Apply fails with ErrReleased and executes nothing.
func (c *Client) NewRequest() (id api.RequestID, release func()) { return c.sessions.Begin() }

// Map is the newest cluster map that was seen, nil before the first. Callers must not change it.
func (c *Client) Map() *pb.ClusterMap {
	if t := c.router.Table(); t != nil {
		return t.Map()
	}
	return nil
}

// Status asks any node, the given seeds first, what it sees of the cluster.
func (c *Client) Status(ctx context.Context) (*pb.StatusResponse, error) {
	op := &operation{name: "status", seedsFirst: true}
	var response *pb.StatusResponse
	err := c.do(ctx, op, func(ctx context.Context, to *connection, o callOptions) error {
		var err error
		response, err = to.cluster.Status(ctx, &pb.StatusRequest{}, o...)
		return err
	})
	return response, err
}

// ClearCaches has a node, the given seeds first, drop what it has cached of its shards.
func (c *Client) ClearCaches(ctx context.Context) (*pb.ClearCachesResponse, error) {
	op := &operation{name: "clear caches", seedsFirst: true}
	var response *pb.ClearCachesResponse
	err := c.do(ctx, op, func(ctx context.Context, to *connection, o callOptions) error {
		var err error
		response, err = to.cluster.ClearCaches(ctx, &pb.ClearCachesRequest{}, o...)
		return err
	})
	return response, err
}

// Admin gives an order of an operator to a node, which passes it on to the master. It may be given more than
// once before it is answered.
func (c *Client) Admin(ctx context.Context, order func(context.Context, pb.AdminClient, ...grpc.CallOption) error) error {
	op := &operation{name: "admin", seedsFirst: true}
	return c.do(ctx, op, func(ctx context.Context, to *connection, o callOptions) error {
		return order(ctx, to.admin, o...)
	})
}

// Close ends the connections. Calls in flight may finish the attempt that they are in and are
// waited for; they retry nothing. Calls that begin later fail with ErrShuttingDown. Close may be
// called more than once.
func (c *Client) Close() error {
	if c.calls.shut() {
		close(c.closing)
	}
	c.calls.wait()
	c.follower.close()
	c.conns.close()
	return nil
}
