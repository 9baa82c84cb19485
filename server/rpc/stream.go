package rpc

import (
	"cmp"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

const (
	// maxStreamCalls and maxStreamBytes bound what a stream has under way, from the arrival of a call
	// until its answer was sent: more callers than a process has threads to run, and twice the largest
	// batch. Beyond them the stream is not read, which gRPC's flow control tells the client.
	maxStreamCalls = 4096
	maxStreamBytes = 16 << 20

	// longAnswerBytes is what a read may bring by a stream. Answers behind a longer one would wait for
	// it: 1 MiB takes 8 ms on a gigabit link.
	longAnswerBytes = 1 << 20

	// maxWaitingBytes bounds the answers of a stream that wait for its client. What comes beyond them,
	// when many small calls find large values, is refused or, of a write, unknown.
	maxWaitingBytes = 4 * maxStreamBytes

	// answerBytes is about what an answer takes beside its values, and callOverhead what a call takes until
	// it is answered, by a refusal if need be, beside its keys and values.
	answerBytes  = 64
	callOverhead = 320
)

// conversation is one Stream under way: readLoop takes calls in, each runs in a goroutine, and the
// handler sends what was answered.
type conversation struct {
	// Set by Stream, never written again.
	server   *Server
	stream   grpc.BidiStreamingServer[pb.StreamRequest, pb.StreamResponse]
	metadata metadata.MD
	wake     chan struct{} // capacity 1: there are answers, or the conversation is over
	room     chan struct{} // capacity 1: less is under way

	loops atomic.Int32 // of the handler and readLoop, those that have not ended

	// mu is a leaf.
	mu struct {
		sync.Mutex
		held    int // bytes in the server's ledger
		calls   int // that arrived and whose answers were not sent
		bytes   int // of these, with the answers that wait
		waiting int // bytes of answers
		answers []answered
		refusal error // why no more calls are taken; nil while they are
		ended   bool  // the client sends no more
		free    []*callGroup
	}
}

// answered is an answer that waits to be sent.
type answered struct {
	*pb.Answer
	bytes int // of the answer
	taken int // of its call
}

// Stream implements pb.KVServer.
func (k kvService) Stream(stream grpc.BidiStreamingServer[pb.StreamRequest, pb.StreamResponse]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	c := &conversation{
		server: k.server, stream: stream, metadata: md,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	c.loops.Store(1)
	defer c.leave()
	// By the headers the client knows that calls are taken.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	c.loops.Add(1)
	c.server.readers.Go(func() {
		defer c.leave()
		c.readLoop()
	})
	return c.answerLoop()
}

// leave is the end of the handler or of readLoop. After both nothing is held.
func (c *conversation) leave() {
	if c.loops.Add(-1) > 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server.ledger.give(c.mu.held)
	c.mu.held = 0
}

// answerLoop sends answers, all that there are in each turn, until the last one.
func (c *conversation) answerLoop() error {
	closing, broken := c.server.closing.Done(), c.stream.Context().Done()
	for {
		select {
		case <-c.wake:
		case <-closing:
			closing = nil
			c.refuse(api.Errorf(api.CodeShuttingDown, "the node is stopping"))
		case <-broken:
			// The calls end with the stream's context; their answers are nobody's.
			broken = nil
			c.refuse(api.ErrShuttingDown)
		}
		runtime.Gosched() // what is about to be answered joins the message
		over, err := c.sendAnswers(broken == nil)
		if over {
			return err
		}
	}
}

// sendAnswers reports whether the conversation is over, and how it ended.
func (c *conversation) sendAnswers(broken bool) (over bool, err error) {
	for {
		answers, calls, bytes := c.takeAnswers()
		if len(answers) > 0 && !broken {
			if err := c.stream.Send(&pb.StreamResponse{Answers: answers}); err != nil {
				broken = true // the context ends as well, and the calls with it
			}
		}
		c.mu.Lock()
		c.mu.calls -= calls
		c.mu.bytes -= bytes
		c.mu.held -= bytes
		c.server.ledger.give(bytes)
		over := c.mu.calls == 0 && (c.mu.ended || c.mu.refusal != nil)
		more, refusal := len(c.mu.answers) > 0, c.mu.refusal
		c.mu.Unlock()
		signal(c.room)
		if over || !more {
			return over, refusal
		}
	}
}

// takeAnswers takes the answers of the next message, and tells what they and their calls took.
func (c *conversation) takeAnswers() (answers []*pb.Answer, calls, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := 0
	for _, a := range c.mu.answers {
		if calls > 0 && size+a.bytes > longAnswerBytes {
			break
		}
		answers = append(answers, a.Answer)
		calls++
		size += a.bytes
		bytes += a.bytes + a.taken
	}
	clear(c.mu.answers[:calls])
	c.mu.answers = c.mu.answers[calls:]
	if len(c.mu.answers) == 0 {
		c.mu.answers = c.mu.answers[:0:0]
	}
	c.mu.waiting -= size
	return answers, calls, bytes
}

// refuse takes no more calls. What is under way is still answered.
func (c *conversation) refuse(why error) {
	c.mu.Lock()
	if c.mu.refusal == nil {
		c.mu.refusal = why
	}
	c.mu.Unlock()
	signal(c.wake)
}

// readLoop ends when the client sends no more, or when the handler has returned.
func (c *conversation) readLoop() {
	for {
		c.awaitLedger()
		m, err := c.stream.Recv()
		if err != nil {
			c.mu.Lock()
			c.mu.ended = true
			c.mu.Unlock()
			signal(c.wake)
			return
		}
		if !c.hold(m.Calls) {
			c.refuse(api.Errorf(api.CodeOverloaded, "clients that do not read their answers hold all memory for streams"))
			return
		}
		refusal := c.server.authorize(c.stream.Context(), pb.KV_Stream_FullMethodName, c.metadata)
		c.take(m.Calls, refusal)
		if refusal != nil {
			c.refuse(refusal)
		}
	}
}

// awaitLedger waits while all streams together hold too much and this one has calls under way.
func (c *conversation) awaitLedger() {
	for c.server.ledger.full() {
		c.mu.Lock()
		idle := c.mu.calls == 0
		c.mu.Unlock()
		if idle {
			return
		}
		select {
		case <-c.room:
		case <-c.stream.Context().Done():
			return
		}
	}
}

// hold counts the calls of a message, until they are answered, unless there is no room for them.
func (c *conversation) hold(calls []*pb.Call) bool {
	bytes := 0
	for _, call := range calls {
		bytes += callBytes(call)
	}
	if !c.server.ledger.take(bytes, true) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.held += bytes
	return true
}

// take starts the calls of a message, as many at a time as there is room for, or refuses them.
func (c *conversation) take(calls []*pb.Call, refusal error) {
	groups := make(map[groupKey]*callGroup)
	for _, call := range calls {
		bytes := callBytes(call)
		closed, over := c.admit(bytes, groups)
		if over {
			return
		}
		if err := cmp.Or(refusal, closed); err != nil {
			c.answer(call, bytes, &pb.Answer{Response: failure(err, false)})
		} else if q, key, ok := c.requestOf(call); ok {
			c.group(groups, key).add(call, bytes, q)
		} else {
			go c.run(call, bytes)
		}
	}
	startGroups(groups)
}

// startGroups runs groups side by side.
func startGroups(groups map[groupKey]*callGroup) {
	for _, g := range groups {
		go g.run()
	}
	clear(groups)
}

// admit waits for room for a call, and counts it. What has been gathered runs meanwhile. It says why the call is not to run, and whether
// nobody waits for its answer either.
func (c *conversation) admit(bytes int, gathered map[groupKey]*callGroup) (refusal error, over bool) {
	for {
		c.mu.Lock()
		full := c.mu.calls >= maxStreamCalls || c.mu.calls > 0 && c.mu.bytes+bytes > maxStreamBytes
		if !full {
			c.mu.calls++
			c.mu.bytes += bytes
			refusal = c.mu.refusal
		}
		c.mu.Unlock()
		if !full {
			return refusal, false
		}
		startGroups(gathered)
		select {
		case <-c.room:
		case <-c.stream.Context().Done():
			return nil, true
		}
	}
}

// run runs one call.
func (c *conversation) run(call *pb.Call, bytes int) {
	ctx := c.stream.Context()
	if call.TimeoutMs > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(call.TimeoutMs)*time.Millisecond)
		defer cancel()
	}
	ctx, span := c.server.tracedCalls(ctx, call)
	a := c.server.runCall(ctx, call)
	span.End(errorOf(a))
	c.answer(call, bytes, a)
}

// answer hands a call's answer to the handler.
func (c *conversation) answer(call *pb.Call, taken int, a *pb.Answer) {
	a.Id = call.Id
	c.queueAnswers([]answered{{a, sizeOf(a), taken}})
}

// queueAnswers hands answers to the handler. What would keep the others waiting, or is too much, is
// left out of them.
func (c *conversation) queueAnswers(answers []answered) {
	if len(answers) == 0 {
		return
	}
	c.mu.Lock()
	for _, a := range answers {
		// A batch has run, and cannot be asked for again without a request id.
		batch := a.GetBatch() != nil
		if a.bytes > longAnswerBytes && !batch {
			a.Response, a.bytes = &pb.Answer_TooLong{TooLong: true}, answerBytes
		}
		// An error stays: it is short, and of a batch whose outcome is open it must not become a refusal.
		if !c.keepLocked(a.bytes) {
			if a.GetFailure() == nil {
				a.Response, a.bytes = failure(unreadError(batch), batch), answerBytes
			}
			c.server.ledger.force(a.bytes) // the call has been let in
		}
		c.mu.held += a.bytes
		c.mu.waiting += a.bytes
		c.mu.bytes += a.bytes
		c.mu.answers = append(c.mu.answers, a)
	}
	c.mu.Unlock()
	signal(c.wake)
}

// keepLocked counts an answer that is to wait for the client, unless there is no room for it.
func (c *conversation) keepLocked(bytes int) bool {
	waiting := c.mu.waiting + bytes
	if c.mu.waiting > 0 && waiting > maxWaitingBytes {
		return false
	}
	return c.server.ledger.take(bytes, waiting <= shortAnswersBytes)
}

func unreadError(batch bool) error {
	if batch {
		return api.Errorf(api.CodeUnknownOutcome, "the batch has run, and its answer is dropped: the client does not read its answers")
	}
	return api.Errorf(api.CodeOverloaded, "the client does not read its answers")
}

// runCall runs a call by the methods that the unary ones use, and tells of it as of those.
func (s *Server) runCall(ctx context.Context, call *pb.Call) (a *pb.Answer) {
	began := s.opts.Clock.Now()
	kv := kvService{server: s, kv: s.opts.KV}
	op, write := "call", false
	var err error
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(pb.KV_Stream_FullMethodName, p)
		}
		if err != nil {
			a = &pb.Answer{Response: failure(err, write)}
		}
		s.opts.Observe("grpc", op, api.CodeOf(err), s.opts.Clock.Now().Sub(began))
	}()
	switch r := call.Request.(type) {
	case *pb.Call_Get:
		op = "get"
		var res *pb.GetResponse
		res, err = kv.Get(ctx, r.Get)
		return &pb.Answer{Response: &pb.Answer_Get{Get: res}}
	case *pb.Call_MultiGet:
		op = "multiget"
		var res *pb.MultiGetResponse
		res, err = kv.MultiGet(ctx, r.MultiGet)
		return &pb.Answer{Response: &pb.Answer_MultiGet{MultiGet: res}}
	case *pb.Call_Batch:
		op, write = "batch", true
		var res *pb.BatchResponse
		res, err = kv.Batch(ctx, r.Batch)
		return &pb.Answer{Response: &pb.Answer_Batch{Batch: res}}
	}
	err = api.Errorf(api.CodeInvalid, "the call has no request that this version knows")
	return nil
}

// failure is an error as an answer. One without a code of ours leaves open what a write did.
func failure(err error, write bool) *pb.Answer_Failure {
	e, ok := api.FromStatus(api.ToStatus(err), write).(*api.Error)
	if !ok {
		e = api.Errorf(api.CodeInternal, "%w", err)
	}
	return &pb.Answer_Failure{Failure: &pb.Failure{Message: e.Error(), Detail: e.Detail()}}
}

// callBytes is about what a call takes in memory.
func callBytes(call *pb.Call) int {
	bytes := callOverhead
	switch r := call.Request.(type) {
	case *pb.Call_Get:
		bytes += len(r.Get.GetKey())
	case *pb.Call_MultiGet:
		for _, key := range r.MultiGet.GetKeys() {
			bytes += len(key) + answerBytes
		}
	case *pb.Call_Batch:
		for _, op := range r.Batch.GetOps() {
			bytes += len(op.GetKey()) + len(op.GetSource()) + len(op.GetValue()) + answerBytes
		}
	}
	return bytes
}

// sizeOf is about what an answer takes in memory and in a message.
func sizeOf(a *pb.Answer) int {
	bytes := answerBytes
	switch r := a.Response.(type) {
	case *pb.Answer_Get:
		bytes += len(r.Get.GetValue())
	case *pb.Answer_MultiGet:
		for _, item := range r.MultiGet.GetItems() {
			bytes += len(item.GetValue()) + answerBytes
		}
	case *pb.Answer_Batch:
		for _, found := range r.Batch.GetResults() {
			bytes += len(found.GetPrevious()) + len(found.GetText()) + answerBytes
		}
	case *pb.Answer_Failure:
		bytes += len(r.Failure.GetMessage())
	}
	return bytes
}

// signal wakes whoever waits on a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
