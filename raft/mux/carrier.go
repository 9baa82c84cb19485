package mux

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/lightning-db/lightning/api/peerv1"
)

// carrier is one stream of a link. A server gives up connections that have reached their age, so
// that both ends meet new certificates; it lets the streams on them go on for a while. A link uses
// that time to open the next stream and moves over when it stands: nothing breaks, nobody is
// suspected, and requests keep their order.
type carrier struct {
	// Set by open, never written again.
	conn   *grpc.ClientConn
	stream grpc.ClientStream
	ctx    context.Context // ends with the stream
	cancel context.CancelFunc

	received chan error    // capacity 1: why receiving ended
	next     chan *carrier // the successor, when it stands

	// last is the sequence number of the latest call sent; those of the streams before it are lower
	// than all of its own. Guarded by link.mu.
	last uint64
}

// settleTime is how long a link waits for the answers of the old stream before it sends on the
// new one, so that requests do not overtake each other. It is far below a heartbeat timeout.
const settleTime = 50 * time.Millisecond

// open opens a stream, unless guard ends before it stands. Its goroutines are counted in running
// and end with it.
func (l *link) open(parent, guard context.Context, running *sync.WaitGroup) (*carrier, error) {
	c := &carrier{received: make(chan error, 1), next: make(chan *carrier)}
	var err error
	if c.conn, err = l.pool.Conn(l.node, l.lane); err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(parent)
	unguard := context.AfterFunc(guard, c.cancel)
	c.stream, err = peerv1.NewRaftClient(c.conn).Exchange(c.ctx, callOptions()...)
	if !unguard() && err == nil {
		err = context.Cause(guard)
	}
	if err != nil {
		c.cancel()
		return nil, err
	}
	running.Go(func() {
		c.received <- l.receive(c.stream)
		c.cancel()
	})
	running.Go(func() { l.succeed(parent, c, running) })
	return c, nil
}

// succeed waits until the connection under c goes away and has the next stream take over. The
// state of a connection leaves Ready when the server announces that, while streams go on; gRPC
// opens streams a moment before it says Ready.
func (l *link) succeed(parent context.Context, c *carrier, running *sync.WaitGroup) {
	for _, state := range []connectivity.State{connectivity.Connecting, connectivity.Ready} {
		if c.conn.GetState() == state && !c.conn.WaitForStateChange(c.ctx, state) {
			return // the stream ended first
		}
	}
	for c.ctx.Err() == nil {
		next, err := l.open(parent, c.ctx, running)
		if err == nil {
			select {
			case c.next <- next:
			case <-c.ctx.Done():
				next.cancel()
			}
			return
		}
		select {
		case <-c.ctx.Done():
		case <-time.After(reconnectWait):
		}
	}
}

// sentOn lists the calls that wait for an answer on c, the oldest stream that still has any.
func (l *link) sentOn(c *carrier) (list []*call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for sequence, waiting := range l.mu.pending {
		if sequence <= c.last {
			list = append(list, waiting)
		}
	}
	return list
}

// retire ends c when its calls are answered. Those that are not fail as on a broken stream.
func (l *link) retire(c *carrier) {
	l.awaitAnswers(c, appendTimeout)
	c.cancel()
	for _, waiting := range l.sentOn(c) {
		if waiting.forget() {
			waiting.to.receive(nil, false, fmt.Errorf("node %s: %w", l.node, errLinkBroken))
		}
	}
}

func (l *link) awaitAnswers(c *carrier, limit time.Duration) {
	ctx, cancel := context.WithTimeout(c.ctx, limit)
	defer cancel()
	poll := time.NewTicker(settleTime / 25)
	defer poll.Stop()
	for len(l.sentOn(c)) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}
