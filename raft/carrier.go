package raft

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
	parent context.Context // of the link
	conn   *grpc.ClientConn
	stream grpc.BidiStreamingClient[peerv1.RaftFrames, peerv1.RaftFrames]
	ctx    context.Context // ends with the stream
	cancel context.CancelFunc

	received chan error    // capacity 1: why receiving ended
	next     chan *carrier // the successor, when it stands
}

const (
	// settleTime is how long a link waits for the answers of the old stream before it sends on the
	// new one, so that requests do not overtake each other. It is far below a heartbeat timeout.
	settleTime = 50 * time.Millisecond
	settlePoll = 2 * time.Millisecond
	// succeedPause separates attempts to open the next stream.
	succeedPause = 500 * time.Millisecond
)

// open opens a stream, unless guard ends before it stands. Its goroutines are counted in running
// and end with it.
func (l *link) open(parent, guard context.Context, running *sync.WaitGroup) (*carrier, error) {
	conn, err := l.pool.Conn(l.node, l.lane)
	if err != nil {
		return nil, err
	}
	c := &carrier{parent: parent, conn: conn, received: make(chan error, 1), next: make(chan *carrier)}
	c.ctx, c.cancel = context.WithCancel(parent)
	unguard := context.AfterFunc(guard, c.cancel)
	c.stream, err = peerv1.NewRaftClient(conn).Exchange(c.ctx, grpc.WaitForReady(true))
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
	running.Go(func() { l.succeed(c, running) })
	return c, nil
}

// succeed waits until the connection under c goes away and has the next stream take over. The
// state of a connection leaves Ready when the server announces that, while streams go on.
func (l *link) succeed(c *carrier, running *sync.WaitGroup) {
	if c.conn.GetState() == connectivity.Ready && !c.conn.WaitForStateChange(c.ctx, connectivity.Ready) {
		return // the stream ended first
	}
	for c.ctx.Err() == nil {
		next, err := l.open(c.parent, c.ctx, running)
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
		case <-time.After(succeedPause):
		}
	}
}

// waits reports whether calls that were sent on c have no answer yet.
func (l *link) waits(c *carrier) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, waiting := range l.mu.pending {
		if waiting.via == c {
			return true
		}
	}
	return false
}

// settle waits for the answers on c, but not long.
func (l *link) settle(c *carrier) { l.awaitAnswers(c, settleTime) }

// retire ends c when its answers are there. Calls that get none fail as on a broken stream.
func (l *link) retire(c *carrier) {
	l.awaitAnswers(c, appendTimeout)
	c.cancel()
	l.mu.Lock()
	var failed []*call
	for sequence, waiting := range l.mu.pending {
		if waiting.via == c {
			failed = append(failed, waiting)
			delete(l.mu.pending, sequence)
		}
	}
	l.mu.Unlock()
	for _, waiting := range failed {
		waiting.done <- answer{err: fmt.Errorf("node %s: %w", l.node, errLinkBroken)}
	}
}

func (l *link) awaitAnswers(c *carrier, limit time.Duration) {
	ctx, cancel := context.WithTimeout(c.ctx, limit)
	defer cancel()
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	for l.waits(c) {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}
