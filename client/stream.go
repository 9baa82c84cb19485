package client

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/trace"
)

const (
	// maxMessageCalls and maxMessageBytes are where a message is full. Beyond a few hundred calls a
	// message saves nothing more, and what is behind it waits.
	maxMessageCalls = 1024
	maxMessageBytes = 1 << 20

	// maxStreamedBytes is the longest request that a stream carries. A longer one would keep the
	// others waiting: it is sent by itself, beside the stream.
	maxStreamedBytes = 256 << 10

	// callBytes is about what a call, or an element of its lists, takes beside its keys and values.
	callBytes = 64

	// maxStreamAge is when a stream is replaced. Nodes end connections that are old, to make clients
	// meet new certificates, and wait for the calls on them: for a stream they would wait in vain.
	maxStreamAge = 5 * time.Minute

	// unaryTime is how long a node that knows no streams is not asked for one again.
	unaryTime = time.Minute
)

// errUnary says that a call cannot go by a stream: it is made by itself.
var errUnary = errors.New("not by a stream")

// errTooLong says that what a read found is too long for a stream.
var errTooLong = errors.New("too long for a stream")

// stream carries the calls of all goroutines to one node. sendLoop sends what waits, all of it at
// once; recvLoop wakes each caller whose answer came.
type stream struct {
	// Set by newStream, never written again.
	conn   *connection
	cancel context.CancelFunc
	born   time.Time
	wake   chan struct{} // capacity 1: something waits, or the stream is retired

	// mu is a leaf: nothing is locked and no I/O is done while it is held.
	mu struct {
		sync.Mutex
		queue   []*streamed
		open    map[uint64]*streamed // queued or sent, and not answered
		retired bool                 // takes no more calls
	}
}

// streamed is one call on a stream.
type streamed struct {
	id uint64
	// message has the call only. It is encoded by the caller, who may change his bytes when his
	// context has ended, whether or not the call has left the queue by then.
	message []byte

	sent bool // guarded by stream.mu: it was given to gRPC, or may have been

	// done gets exactly one outcome, unless the caller gave up.
	done chan outcome
}

// outcome is how a call on a stream ended: with an answer, or with an error of the stream.
type outcome struct {
	answer *pb.Answer
	err    error
}

// streamError is the error of a call that got no answer.
type streamError struct {
	sent  bool // the node may have seen the call
	cause error
}

// Error implements error.
func (e *streamError) Error() string { return e.cause.Error() }

// Unwrap gives gRPC's error.
func (e *streamError) Unwrap() error { return e.cause }

func newStream(ctx context.Context, conn *connection) *stream {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{conn: conn, cancel: cancel, born: conn.clock.Now(), wake: make(chan struct{}, 1)}
	s.mu.open = make(map[uint64]*streamed)
	conn.loops.Go(func() { s.sendLoop(ctx) })
	return s
}

// enqueue adds a call, unless the stream is retired.
func (s *stream) enqueue(c *streamed) bool {
	s.mu.Lock()
	if s.mu.retired {
		s.mu.Unlock()
		return false
	}
	s.mu.queue = append(s.mu.queue, c)
	s.mu.open[c.id] = c
	s.mu.Unlock()
	s.signal()
	return true
}

func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// abandon forgets a call whose caller gave up, and tells whether the node may have seen it. The
// queue holds nothing of callers who have gone, however long the node does not read.
func (s *stream) abandon(c *streamed) (sent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.open, c.id)
	if !c.sent {
		if i := slices.Index(s.mu.queue, c); i >= 0 {
			s.mu.queue = slices.Delete(s.mu.queue, i, i+1)
		}
	}
	return c.sent
}

// retire lets what is under way end and takes no more calls.
func (s *stream) retire() {
	s.mu.Lock()
	s.mu.retired = true
	s.mu.Unlock()
	s.signal()
}

// pack joins the calls that wait to a message: messages of repeated fields are joined by putting one
// behind the other. It is empty when none wait; over says that none come.
func (s *stream) pack(m *joined) (over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	m.bytes, m.parts = 0, m.parts[:0]
	for _, c := range s.mu.queue {
		if n == maxMessageCalls || n > 0 && m.bytes+len(c.message) > maxMessageBytes {
			break
		}
		n++
		m.bytes += len(c.message)
		m.parts = append(m.parts, c.message)
		c.sent = true
	}
	rest := copy(s.mu.queue, s.mu.queue[n:])
	clear(s.mu.queue[rest:])
	s.mu.queue = s.mu.queue[:rest]
	return n == 0 && s.mu.retired
}

// sendLoop opens the stream and sends what waits until it is over.
func (s *stream) sendLoop(ctx context.Context) {
	wire, err := s.conn.kv.Stream(ctx, grpc.ForceCodecV2(streamCodec{encoding.GetCodecV2(proto.Name)}))
	if err != nil {
		s.end(err, false)
		return
	}
	s.conn.loops.Go(func() { s.recvLoop(wire) })
	var m joined
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		runtime.Gosched() // who is about to call joins the message
		over := s.pack(&m)
		for ; len(m.parts) > 0; over = s.pack(&m) {
			if wire.SendMsg(&m) != nil {
				return // recvLoop sees why
			}
			clear(m.parts)
		}
		if over {
			_ = wire.CloseSend() // it fails only when the stream has ended, which recvLoop sees
			return
		}
	}
}

// recvLoop hands out answers until the stream ends.
func (s *stream) recvLoop(wire grpc.BidiStreamingClient[pb.StreamRequest, pb.StreamResponse]) {
	var answered []*streamed
	for {
		m, err := wire.Recv()
		if err != nil {
			header, _ := wire.Header()
			s.end(err, header != nil)
			return
		}
		answered = s.match(answered[:0], m.GetAnswers())
		for i, c := range answered {
			if c != nil {
				c.done <- outcome{answer: m.Answers[i]}
			}
		}
		clear(answered)
	}
}

// match finds the call of each answer; nil for one whose caller gave up.
func (s *stream) match(found []*streamed, answers []*pb.Answer) []*streamed {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range answers {
		found = append(found, s.mu.open[a.GetId()])
		delete(s.mu.open, a.GetId())
	}
	return found
}

// end fails every call without an answer. accepted says that the node has taken calls.
func (s *stream) end(err error, accepted bool) {
	s.cancel()
	s.conn.dropStream(s)
	st := status.Convert(err)
	refused := !accepted && len(st.Details()) > 0
	unknown := !accepted && st.Code() == codes.Unimplemented && len(st.Details()) == 0
	if unknown {
		s.conn.unaryUntil.Store(s.conn.clock.Now().Add(unaryTime).UnixMilli())
	}
	s.mu.Lock()
	s.mu.retired = true
	open := s.mu.open
	s.mu.open, s.mu.queue = nil, nil
	s.mu.Unlock()
	for _, c := range open {
		switch {
		case unknown:
			c.done <- outcome{err: errUnary}
		case refused || !c.sent:
			c.done <- outcome{err: &streamError{cause: err}}
		default:
			// Of what the stream ended with nothing holds for a call of it.
			c.done <- outcome{err: &streamError{sent: true, cause: status.Error(codes.Unavailable, "the stream ended: "+st.Message())}}
		}
	}
}

// call makes a call by the connection's stream and waits for its answer. It fails with errUnary if
// there is no stream, and with errTooLong if what was found is not for one.
func (conn *connection) call(ctx context.Context, call *pb.Call, bytes int) (*pb.Answer, error) {
	if bytes > maxStreamedBytes {
		return nil, errUnary
	}
	if deadline, ok := ctx.Deadline(); ok {
		call.TimeoutMs = timeoutMillis(deadline.Sub(clock.Real{}.Now())) // deadlines of contexts are on the machine's clock
	}
	call.Id, call.Traceparent = conn.calls.Add(1), trace.Traceparent(ctx)
	message, err := protobuf.Marshal(&pb.StreamRequest{Calls: []*pb.Call{call}})
	if err != nil {
		return nil, errUnary // which says why it cannot be sent
	}
	c := &streamed{id: call.Id, message: message, done: make(chan outcome, 1)}
	var s *stream
	for {
		if s = conn.useStream(); s == nil {
			return nil, errUnary
		}
		if s.enqueue(c) {
			break
		}
	}
	var o outcome
	select {
	case o = <-c.done:
	case <-ctx.Done():
		sent := s.abandon(c)
		select {
		case o = <-c.done: // it came in the meantime
		default:
			return nil, &streamError{sent: sent, cause: status.FromContextError(ctx.Err()).Err()}
		}
	}
	if o.err != nil {
		return nil, o.err
	}
	return checkAnswer(o.answer)
}

// checkAnswer finds the error in an answer.
func checkAnswer(a *pb.Answer) (*pb.Answer, error) {
	switch r := a.GetResponse().(type) {
	case *pb.Answer_TooLong:
		return nil, errTooLong
	case *pb.Answer_Failure:
		if r.Failure.GetDetail() == nil {
			return nil, &streamError{sent: true, cause: status.Error(codes.Unknown, r.Failure.GetMessage())}
		}
		return nil, &answerError{api.FromDetail(r.Failure.GetMessage(), r.Failure.GetDetail())}
	}
	return a, nil
}

// answerError is an error that a node answered with.
type answerError struct{ answer *api.Error }

// Error implements error.
func (e *answerError) Error() string { return e.answer.Error() }

func timeoutMillis(d time.Duration) uint32 {
	const longest = time.Hour // beyond any limit of a node
	return uint32(min(max(d, 0), longest)/time.Millisecond) + 1
}

// useStream is the stream to use, a new one if there is none or it is old; nil if the node knows no
// streams or the connection is closed.
func (conn *connection) useStream() *stream {
	now := conn.clock.Now()
	if until := conn.unaryUntil.Load(); until != 0 && now.UnixMilli() < until {
		return nil
	}
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.mu.closed {
		return nil
	}
	if s := conn.mu.stream; s != nil {
		if now.Sub(s.born) < maxStreamAge {
			return s
		}
		s.retire()
	}
	conn.mu.stream = newStream(conn.ctx, conn)
	return conn.mu.stream
}

// dropStream makes the next call open another stream.
func (conn *connection) dropStream(s *stream) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.mu.stream == s {
		conn.mu.stream = nil
	}
}

// close breaks off what is under way and waits for the goroutines of the streams.
func (conn *connection) close() {
	conn.mu.Lock()
	conn.mu.closed = true
	conn.mu.Unlock()
	conn.cancel()
	_ = conn.grpc.Close() // it fails only when it is closed already
	conn.loops.Wait()
}

// joined is a StreamRequest as encoded parts.
type joined struct {
	parts [][]byte
	bytes int
}

// streamCodec is gRPC's own, but for messages that are encoded already.
type streamCodec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c streamCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*joined)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	pool := mem.DefaultBufferPool()
	buffer := pool.Get(m.bytes)
	to := (*buffer)[:0]
	for _, part := range m.parts {
		to = append(to, part...)
	}
	*buffer = to
	return mem.BufferSlice{mem.NewBuffer(buffer, pool)}, nil
}
