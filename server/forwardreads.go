package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/trace"
)

const (
	// maxReadsPerMessage and maxReadsBytes are where a message of reads is full. Beyond a few hundred
	// reads a message saves nothing more, and what is behind it waits.
	maxReadsPerMessage = 1024
	maxReadsBytes      = 1 << 20

	// maxStreamedKeys and maxStreamedKeyBytes bound one read among them, so that it does not keep the
	// others waiting.
	maxStreamedKeys     = maxGetKeys
	maxStreamedKeyBytes = 256 << 10

	// maxReadStreamAge is when a stream to another node is replaced, long before the connection under it
	// is too old and everything on it ends at once.
	maxReadStreamAge = 5 * time.Minute
)

// errTooLong says that an answer is too long to be sent with others.
var errTooLong = errors.New("the answer is too long to be sent with others")

// readForwarder has a stream to each node that reads are forwarded to. The zero value is ready. Safe for
// concurrent use.
type readForwarder struct {
	loops sync.WaitGroup // of the streams; grows only while the gate counts a request, or from one of them

	// mu is taken before readStream.mu. No I/O is done while it is held.
	mu      sync.Mutex
	streams map[api.NodeID]*readStream
}

// readStream carries the reads of all callers to one node. sendLoop sends what waits, all of it at
// once; recvLoop wakes each caller whose answer came.
type readStream struct {
	// Set by newReadStream, never written again.
	server *Server
	node   api.NodeID
	born   time.Time
	ctx    context.Context // ends when the gate is closed and empty
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1: something waits, or the stream is retired

	// mu is a leaf: nothing is locked and no I/O is done while it is held.
	mu struct {
		sync.Mutex
		queue   []*forwardedRead
		open    map[uint64]*forwardedRead // queued or sent, and not answered
		last    uint64                    // id given out
		retired bool                      // takes no more reads
	}
}

// forwardedRead is the read of one caller on its way to another node. Its keys are copies: the caller
// may change his when his time is over.
type forwardedRead struct {
	message *peerv1.ForwardRead
	bytes   int
	done    chan readAnswer // gets exactly one, unless the caller gave up
}

type readAnswer struct {
	found *peerv1.ForwardFound
	err   error
}

// getElsewhere reads the first of some keys at another node, together with what others read there. It
// fails with errTooLong if that is for Get. ctx has a deadline.
func (s *Server) getElsewhere(ctx context.Context, at place, ns api.Namespace, keys [][]byte) (_ []*peerv1.ForwardItem, err error) {
	ctx, span := beginForward(ctx, at.node, "get")
	defer func() { span.End(err) }()
	r := newForwardedRead(ctx, at, ns, keys)
	conn, err := s.opts.Peers.Conn(at.node, peers.Forward)
	if err != nil {
		return nil, fmt.Errorf("forward get: %w", err)
	}
	if err := ready(ctx, conn, at.node); err != nil {
		return nil, err
	}
	stream := s.reads.enqueue(s, at.node, conn, r)
	var a readAnswer
	select {
	case a = <-r.done:
	case <-ctx.Done():
		stream.abandon(r)
		return nil, api.FromStatus(status.FromContextError(ctx.Err()).Err(), false)
	}
	switch {
	case a.err != nil:
		return nil, a.err
	case a.found.Failure != nil:
		return nil, api.FromDetail(a.found.Failure.Message, a.found.Failure.Detail)
	case a.found.TooLong:
		return nil, errTooLong
	case len(a.found.Items) != len(r.message.Keys):
		return nil, api.Errorf(api.CodeInternal, "node %s answered %d of %d keys", at.node, len(a.found.Items), len(r.message.Keys))
	}
	return a.found.Items, nil
}

// newForwardedRead has the first of some keys, as many as go with others.
func newForwardedRead(ctx context.Context, at place, ns api.Namespace, keys [][]byte) *forwardedRead {
	count, bytes := 0, 0
	for _, key := range keys[:min(len(keys), maxStreamedKeys)] {
		if count > 0 && bytes+len(key) > maxStreamedKeyBytes {
			break
		}
		count++
		bytes += len(key)
	}
	all, copies := make([]byte, 0, bytes), make([][]byte, count)
	for i, key := range keys[:count] {
		start := len(all)
		all = append(all, key...)
		copies[i] = all[start:len(all):len(all)]
	}
	deadline, _ := ctx.Deadline()
	timeout := max(deadline.Sub(clock.Real{}.Now()), 0) // deadlines of contexts are on the machine's clock
	return &forwardedRead{
		message: &peerv1.ForwardRead{
			TimeoutMs: uint64(timeout/time.Millisecond) + 1, ShardId: uint64(at.shard.ID), Epoch: uint64(at.shard.Epoch),
			Namespace: uint32(ns), Keys: copies, MaxStalenessMs: millis(at.bound),
			Traceparents: trace.FromContext(ctx).Parents(),
		},
		bytes: bytes + count*answerOverhead, done: make(chan readAnswer, 1),
	}
}

// enqueue gives a read to the stream to a node, a new one if there is none, or it is old.
func (f *readForwarder) enqueue(s *Server, node api.NodeID, conn *grpc.ClientConn, r *forwardedRead) *readStream {
	now := clock.Real{}.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if stream := f.streams[node]; stream != nil {
		if now.Sub(stream.born) < maxReadStreamAge && stream.enqueue(r) {
			return stream
		}
		stream.retire()
	}
	if f.streams == nil {
		f.streams = make(map[api.NodeID]*readStream)
	}
	stream := newReadStream(s, node, now)
	f.streams[node] = stream
	stream.enqueue(r)
	f.loops.Go(func() { stream.sendLoop(conn) })
	return stream
}

// drop makes the next read open another stream.
func (f *readForwarder) drop(stream *readStream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams[stream.node] == stream {
		delete(f.streams, stream.node)
	}
}

func newReadStream(s *Server, node api.NodeID, now time.Time) *readStream {
	stream := &readStream{server: s, node: node, born: now, wake: make(chan struct{}, 1)}
	stream.ctx, stream.cancel = context.WithCancel(s.gate.closing)
	stream.mu.open = make(map[uint64]*forwardedRead)
	return stream
}

// enqueue adds a read, unless the stream is retired.
func (r *readStream) enqueue(read *forwardedRead) bool {
	r.mu.Lock()
	if r.mu.retired {
		r.mu.Unlock()
		return false
	}
	r.mu.last++
	read.message.Id = r.mu.last
	r.mu.queue = append(r.mu.queue, read)
	r.mu.open[read.message.Id] = read
	r.mu.Unlock()
	wakeUp(r.wake)
	return true
}

// abandon forgets a read whose caller gave up. The queue holds nothing of callers who have gone,
// however long the node does not read.
func (r *readStream) abandon(read *forwardedRead) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mu.open, read.message.Id)
	if i := slices.Index(r.mu.queue, read); i >= 0 {
		r.mu.queue = slices.Delete(r.mu.queue, i, i+1)
	}
}

// retire lets what is under way end and takes no more reads.
func (r *readStream) retire() {
	r.mu.Lock()
	r.mu.retired = true
	r.mu.Unlock()
	wakeUp(r.wake)
}

// pack takes what waits, up to a message. over says that no more comes.
func (r *readStream) pack() (reads []*peerv1.ForwardRead, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	bytes := 0
	for _, read := range r.mu.queue {
		if len(reads) == maxReadsPerMessage || len(reads) > 0 && bytes+read.bytes > maxReadsBytes {
			break
		}
		bytes += read.bytes
		reads = append(reads, read.message)
	}
	r.mu.queue = slices.Delete(r.mu.queue, 0, len(reads))
	return reads, len(reads) == 0 && r.mu.retired
}

// sendLoop opens the stream and sends what waits until it is over.
func (r *readStream) sendLoop(conn *grpc.ClientConn) {
	wire, err := peerv1.NewForwardClient(conn).Reads(r.ctx)
	if err != nil {
		r.end(err)
		return
	}
	r.server.reads.loops.Go(func() { r.recvLoop(wire) })
	for {
		select {
		case <-r.wake:
		case <-r.ctx.Done():
			return
		}
		runtime.Gosched() // who is about to read joins the message
		reads, over := r.pack()
		for ; len(reads) > 0; reads, over = r.pack() {
			if wire.Send(&peerv1.ForwardReadsRequest{Reads: reads}) != nil {
				return // recvLoop sees why
			}
		}
		if over {
			_ = wire.CloseSend() // it fails only when the stream has ended, which recvLoop sees
			return
		}
	}
}

// recvLoop hands out answers until the stream ends.
func (r *readStream) recvLoop(wire grpc.BidiStreamingClient[peerv1.ForwardReadsRequest, peerv1.ForwardReadsResponse]) {
	var answered []*forwardedRead
	for {
		m, err := wire.Recv()
		if err != nil {
			r.end(err)
			return
		}
		answered = r.match(answered[:0], m.Answers)
		for i, read := range answered {
			if read != nil {
				read.done <- readAnswer{found: m.Answers[i]}
			}
		}
		clear(answered)
	}
}

// match finds the read of each answer; nil for one whose caller gave up.
func (r *readStream) match(found []*forwardedRead, answers []*peerv1.ForwardFound) []*forwardedRead {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range answers {
		found = append(found, r.mu.open[a.Id])
		delete(r.mu.open, a.Id)
	}
	return found
}

// end fails every read without an answer.
func (r *readStream) end(err error) {
	r.cancel()
	r.server.reads.drop(r)
	if errors.Is(err, io.EOF) {
		err = api.Errorf(api.CodeUnavailable, "node %s ended the stream of reads", r.node)
	}
	r.mu.Lock()
	r.mu.retired = true
	open := r.mu.open
	r.mu.open, r.mu.queue = nil, nil
	r.mu.Unlock()
	for _, read := range open {
		read.done <- readAnswer{err: api.FromStatus(err, false)}
	}
}

// wakeUp wakes whoever waits on a channel of capacity 1.
func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
