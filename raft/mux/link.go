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
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/raft/wire"
)

// link is the asking half of one lane to one node: one stream that carries the requests of all
// groups and brings their answers back. It reconnects for ever until it is closed, and moves to a
// new connection without a break when the old one
// has reached its age; see carrier.
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
		sequence  uint64
		pending   map[uint64]*call
		queue     []*call
	}
}

// call is one request on its way.
type call struct {
	link     *link
	sequence uint64
	frame    []byte
	weight   int64
	via      *carrier    // that it was sent on; guarded by link.mu
	done     chan answer // capacity 1
}

type answer struct {
	payload []byte
	from    string
	err     error
}

var (
	errLinkBroken = errors.New("the connection broke")
	errLinkClosed = errors.New("the connection is closed")
)

const (
	// maxLinkBytes bounds what waits in one link: a few of the largest entries.
	maxLinkBytes = 4 * api.MaxEntryBytes
	// maxBatchBytes is when a message is full; a larger frame travels alone.
	maxBatchBytes = 1 << 20
	// callOverheadBytes is what a waiting call costs besides its payload.
	callOverheadBytes = 512
	reconnectWait     = 20 * time.Millisecond
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
	l.mu.Lock()
	ready := l.mu.ready
	l.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("reach node %s: %w", l.node, context.Cause(ctx))
	}
}

func (l *link) isConnected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.connected
}

// start queues a request. The answer arrives on the call's done channel, an error if the
// stream breaks. The caller must call forget when it stops waiting.
func (l *link) start(ctx context.Context, f *wire.Frame) (*call, error) {
	weight := min(int64(len(f.Payload)+callOverheadBytes), maxLinkBytes)
	if err := l.budget.Acquire(ctx, weight); err != nil {
		return nil, fmt.Errorf("send to node %s: %w", l.node, context.Cause(ctx))
	}
	c := &call{link: l, weight: weight, done: make(chan answer, 1)}
	l.mu.Lock()
	if !l.mu.connected {
		l.mu.Unlock()
		l.budget.Release(weight)
		return nil, fmt.Errorf("send to node %s: %w", l.node, errLinkBroken)
	}
	l.mu.sequence++
	c.sequence = l.mu.sequence
	l.mu.pending[c.sequence] = c
	l.mu.Unlock()

	f.Sequence = c.sequence
	c.frame = f.Encode()
	l.mu.Lock()
	if l.mu.pending[c.sequence] != c { // broke meanwhile; done has the error
		l.mu.Unlock()
		l.budget.Release(weight)
		return c, nil
	}
	l.mu.queue = append(l.mu.queue, c)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return c, nil
}

// forget drops a call: its answer is not wanted any more. It reports whether there was none yet.
func (c *call) forget() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	waiting := c.link.mu.pending[c.sequence] == c
	delete(c.link.mu.pending, c.sequence)
	return waiting
}

// wait returns the answer or why there is none.
func (c *call) wait(ctx context.Context) (answer, error) {
	select {
	case a := <-c.done:
		return a, a.err
	case <-ctx.Done():
		c.forget()
		return answer{}, fmt.Errorf("wait for node %s: %w", c.link.node, context.Cause(ctx))
	}
}

// ask is start and wait, after waiting for the stream to be up.
func (l *link) ask(ctx context.Context, f *wire.Frame) (answer, error) {
	if err := l.waitReady(ctx); err != nil {
		return answer{}, err
	}
	c, err := l.start(ctx, f)
	if err != nil {
		return answer{}, err
	}
	return c.wait(ctx)
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
	pending, queue := l.mu.pending, l.mu.queue
	l.mu.pending, l.mu.queue = make(map[uint64]*call), nil
	l.mu.Unlock()
	for _, c := range queue {
		l.budget.Release(c.weight)
	}
	err := fmt.Errorf("node %s: %w: %w", l.node, errLinkBroken, cause)
	for _, c := range pending {
		c.done <- answer{err: err}
	}
}

// send takes what is queued, puts it into messages, and waits for more, until c breaks or its
// successor stands, which it returns then.
func (l *link) send(c *carrier) (next *carrier, err error) {
	for {
		select { // each has its chance, also while there is always more to send
		case <-l.wake:
		case next := <-c.next:
			return next, nil
		case <-c.ctx.Done():
			return nil, context.Cause(c.ctx)
		}
		if err := l.sendAll(c, l.takeQueue(c)); err != nil {
			return nil, err
		}
	}
}

func (l *link) sendAll(c *carrier, calls []*call) error {
	for len(calls) > 0 {
		var m peerv1.RaftFrames
		n, size, weight := 0, 0, int64(0)
		for n < len(calls) && (n == 0 || size+len(calls[n].frame) <= maxBatchBytes) {
			m.Frames = append(m.Frames, calls[n].frame)
			size += len(calls[n].frame)
			weight += calls[n].weight
			n++
		}
		err := c.stream.Send(&m)
		l.budget.Release(weight)
		calls = calls[n:]
		if err != nil {
			for _, c := range calls {
				l.budget.Release(c.weight)
			}
			return err
		}
	}
	return nil
}

// takeQueue empties the queue for c and leaves out the calls that nobody waits for any more.
func (l *link) takeQueue(via *carrier) []*call {
	l.mu.Lock()
	queue := l.mu.queue
	l.mu.queue = nil
	wanted := queue[:0]
	var dropped int64
	for _, c := range queue {
		if l.mu.pending[c.sequence] == c {
			c.via = via
			wanted = append(wanted, c)
		} else {
			dropped += c.weight
		}
	}
	l.mu.Unlock()
	l.budget.Release(dropped)
	return wanted
}

// receive hands out answers until the stream ends. A damaged frame ends it: what else the
// stream would bring cannot be trusted.
func (l *link) receive(stream grpc.BidiStreamingClient[peerv1.RaftFrames, peerv1.RaftFrames]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, b := range m.Frames {
			f, err := wire.DecodeFrame(b)
			if err != nil {
				return err
			}
			l.deliver(&f)
		}
	}
}

func (l *link) deliver(f *wire.Frame) {
	l.mu.Lock()
	c := l.mu.pending[f.Sequence]
	delete(l.mu.pending, f.Sequence)
	l.mu.Unlock()
	if c == nil { // too late
		return
	}
	a := answer{payload: f.Payload, from: f.From}
	if f.Failed() {
		a.err = &remoteError{node: l.node, text: string(f.Payload)}
	}
	c.done <- a
}

// remoteError is the peer's answer that it could not do what was asked.
type remoteError struct {
	node api.NodeID
	text string
}

// Error implements error.
func (e *remoteError) Error() string { return fmt.Sprintf("node %s: %s", e.node, e.text) }
