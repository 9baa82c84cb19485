package mux

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/raft/wire"
)

// link is the asking half of one lane to one node: one stream that carries the requests of all
// groups and brings their answers back. It reconnects for ever until it is closed, and moves to a
// new connection without a break when the old one has reached its age; see carrier.
type link struct {
	node   api.NodeID
	lane   peers.Lane
	pool   *peers.Pool
	onLost func(api.NodeID) // the stream broke after it had worked; nil for lanes that do not care

	// budget bounds the bytes that wait to be sent.
	budget *semaphore.Weighted
	wake   chan struct{} // capacity 1: there is something to send

	// mu is a leaf.
	mu struct {
		sync.Mutex
		connected bool
		ready     chan struct{} // closed while connected
		sequence  uint64        // of the latest call
		pending   map[uint64]*call
		queue     queue
	}
}

var (
	errLinkBroken = errors.New("the connection broke")
	errLinkClosed = errors.New("the connection is closed")
)

const (
	// maxLinkBytes bounds what waits in one link: a few of the largest entries.
	maxLinkBytes  = 4 * api.MaxEntryBytes
	reconnectWait = 20 * time.Millisecond
)

func newLink(pool *peers.Pool, node api.NodeID, lane peers.Lane, onLost func(api.NodeID)) *link {
	l := &link{
		node: node, lane: lane, pool: pool, onLost: onLost,
		budget: semaphore.NewWeighted(maxLinkBytes), wake: make(chan struct{}, 1),
	}
	l.mu.ready = make(chan struct{})
	l.mu.pending = make(map[uint64]*call)
	return l
}

// waitReady returns when the stream is up.
func (l *link) waitReady(ctx context.Context) error {
	if l.isConnected() {
		return nil
	}
	select {
	case <-l.readyChannel():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("reach node %s: %w", l.node, context.Cause(ctx))
	}
}

// readyChannel is closed while the stream is up.
func (l *link) readyChannel() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.ready
}

func (l *link) isConnected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.connected
}

// start queues a request. The answer goes to c.to, or an error if the stream breaks. Who stops waiting
// must call c.forget. It waits while too much is queued.
func (l *link) start(ctx context.Context, f *wire.Frame, c *call) error {
	weight := min(int64(f.MaxBytes()), maxLinkBytes)
	if err := l.budget.Acquire(ctx, weight); err != nil {
		return fmt.Errorf("send to node %s: %w", l.node, context.Cause(ctx))
	}
	l.mu.Lock()
	if !l.mu.connected {
		l.mu.Unlock()
		l.budget.Release(weight)
		return fmt.Errorf("send to node %s: %w", l.node, errLinkBroken)
	}
	l.mu.sequence++
	c.link, c.sequence, f.Sequence = l, l.mu.sequence, l.mu.sequence
	l.mu.pending[c.sequence] = c
	l.mu.queue.add(f, weight)
	l.mu.Unlock()
	signal(l.wake)
	return nil
}

// signal wakes the one who waits for a channel of capacity 1, now or next time.
func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// loop keeps the stream up until ctx ends.
func (l *link) loop(ctx context.Context) {
	for ctx.Err() == nil {
		worked, _ := l.runStream(ctx)
		if worked && l.onLost != nil && ctx.Err() == nil {
			l.onLost(l.node)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnectWait):
		}
	}
}

// runStream opens a stream and serves it, and whatever streams succeed it, until one breaks. It
// reports whether there ever was one.
func (l *link) runStream(parent context.Context) (worked bool, err error) {
	var running sync.WaitGroup
	defer running.Wait()
	c, err := l.open(parent, parent, &running)
	if err != nil {
		return false, err
	}
	l.connect()
	for {
		next, err := l.send(c)
		if next == nil {
			c.cancel()
			if rerr := <-c.received; rerr != nil {
				err = rerr
			}
			l.disconnect(err)
			return true, err
		}
		old := c
		l.awaitAnswers(old, settleTime)
		running.Go(func() { l.retire(old) })
		c = next
	}
}

func (l *link) connect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.connected = true
	close(l.mu.ready)
}

// disconnect fails everything that waits.
func (l *link) disconnect(cause error) {
	l.mu.Lock()
	l.mu.connected = false
	l.mu.ready = make(chan struct{})
	pending, batches := l.mu.pending, l.mu.queue.take()
	l.mu.pending = make(map[uint64]*call)
	l.mu.Unlock()
	l.budget.Release(discard(batches))
	err := fmt.Errorf("node %s: %w: %w", l.node, errLinkBroken, cause)
	for _, c := range pending {
		c.to.receive(nil, false, err)
	}
}

// send sends what is queued and waits for more, until c breaks or its successor stands, which it
// returns then.
func (l *link) send(c *carrier) (next *carrier, err error) {
	for {
		select { // each has its chance, also while there is always more to send
		case <-l.wake:
		case next := <-c.next:
			return next, nil
		case <-c.ctx.Done():
			return nil, context.Cause(c.ctx)
		}
		batches := l.takeQueue(c)
		for i, b := range batches {
			weight := b.weight
			err := c.stream.SendMsg(b)
			l.budget.Release(weight)
			if err != nil {
				l.budget.Release(discard(batches[i+1:]))
				return nil, err
			}
		}
	}
}

// takeQueue empties the queue for c, which all calls made so far are sent on then, or were.
func (l *link) takeQueue(c *carrier) []*batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.last = l.mu.sequence
	return l.mu.queue.take()
}

// receive hands out answers until the stream ends. A damaged batch ends it: what else the
// stream would bring cannot be trusted.
func (l *link) receive(stream grpc.ClientStream) error {
	for {
		var b batch
		if err := stream.RecvMsg(&b); err != nil {
			return err
		}
		err := l.deliver(&b)
		b.free()
		if err != nil {
			return err
		}
	}
}

// deliver hands out the answers of a batch.
func (l *link) deliver(b *batch) error {
	frames, err := b.frames()
	if err != nil {
		return err
	}
	for {
		var f wire.Frame
		if ok, err := frames.Next(&f); err != nil || !ok {
			return err
		}
		l.mu.Lock()
		c := l.mu.pending[f.Sequence]
		if !f.More() {
			delete(l.mu.pending, f.Sequence)
		}
		l.mu.Unlock()
		switch {
		case c == nil: // too late
		case f.Failed():
			c.to.receive(nil, false, &remoteError{node: l.node, text: string(f.Payload)})
		default:
			c.to.receive(f.Payload, f.More(), nil)
		}
	}
}
