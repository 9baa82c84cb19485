package server

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
)

const (
	// maxOpenReadBytes bounds the reads of one node that are under way here, from their arrival until
	// their answers were sent. Beyond them its stream is not read, which gRPC's flow control tells it.
	maxOpenReadBytes = 4 << 20

	// maxOpenAnswerBytes bounds the values that wait for one node to take them. What is found beyond
	// them is refused, and asked for again.
	maxOpenAnswerBytes = 16 << 20

	// answerOverhead is about what a read, a key of it or an answer takes in memory beside keys and
	// values.
	answerOverhead = 64
)

// visitor is another node whose reads are answered. readLoop takes them in, those of a message that can
// be one read run together, and the handler sends what was answered.
type visitor struct {
	// Set by Reads, never written again.
	server *Server
	stream grpc.BidiStreamingServer[peerv1.ForwardReadsRequest, peerv1.ForwardReadsResponse]
	wake   chan struct{} // capacity 1: there are answers, or the visitor is gone
	room   chan struct{} // capacity 1: fewer reads are under way

	// mu is a leaf.
	mu struct {
		sync.Mutex
		open    int // bytes of the reads that arrived and whose answers were not sent
		bytes   int // of the answers that wait
		answers []foundHere
		ended   bool // the visitor sends no more
	}
}

// foundHere is an answer that waits to be sent.
type foundHere struct {
	*peerv1.ForwardFound
	bytes int // of the answer
	taken int // of its read
	share *budgetShare
}

// budgetShare counts the values of some reads until all their answers were sent.
type budgetShare struct {
	bytes replyBudget
	left  int // answers; guarded by visitor.mu
}

// Reads implements peerv1.ForwardServer.
func (f forwardService) Reads(stream grpc.BidiStreamingServer[peerv1.ForwardReadsRequest, peerv1.ForwardReadsResponse]) error {
	_, leave, err := f.server.gate.enter(stream.Context(), 0)
	if err != nil {
		return api.ToStatus(err)
	}
	v := &visitor{server: f.server, stream: stream, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	f.server.answering.Go(v.readLoop)
	leave() // a stream without reads keeps nobody from closing
	return v.answerLoop()
}

// answerLoop sends answers until the visitor has gone and nothing is under way, or the node stops.
func (v *visitor) answerLoop() error {
	closing, broken := v.server.gate.closing.Done(), v.stream.Context().Done()
	for {
		select {
		case <-v.wake:
		case <-closing:
			v.sendAnswers(false)
			return api.ToStatus(api.Errorf(api.CodeShuttingDown, "the node is stopping"))
		case <-broken:
			broken = nil
		}
		runtime.Gosched() // what is about to be answered joins the message
		if v.sendAnswers(broken == nil) {
			return nil
		}
	}
}

// sendAnswers sends all answers that there are, and reports whether they were the last.
func (v *visitor) sendAnswers(broken bool) (over bool) {
	for {
		answers, taken := v.takeAnswers()
		if len(answers) > 0 && !broken && v.stream.Send(&peerv1.ForwardReadsResponse{Answers: answers}) != nil {
			broken = true // the context ends as well, and the reads with it
		}
		over, more := v.sent(taken)
		if over || !more {
			return over
		}
	}
}

// takeAnswers takes the answers of the next message.
func (v *visitor) takeAnswers() (answers []*peerv1.ForwardFound, taken []foundHere) {
	v.mu.Lock()
	defer v.mu.Unlock()
	size := 0
	for _, a := range v.mu.answers {
		if len(answers) > 0 && size+a.bytes > smallAnswerBytes {
			break
		}
		size += a.bytes
		answers = append(answers, a.ForwardFound)
	}
	taken = v.mu.answers[:len(answers):len(answers)]
	if v.mu.answers = v.mu.answers[len(answers):]; len(v.mu.answers) == 0 {
		v.mu.answers = nil
	}
	return answers, taken
}

// sent forgets answers. It reports whether the last one was, and whether more wait.
func (v *visitor) sent(taken []foundHere) (over, more bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, a := range taken {
		v.mu.open -= a.taken
		v.mu.bytes -= a.bytes
		if a.share.left--; a.share.left == 0 {
			a.share.bytes.release()
		}
	}
	if len(taken) > 0 {
		wakeUp(v.room)
	}
	return v.mu.ended && v.mu.open == 0, len(v.mu.answers) > 0
}

// readLoop ends when the visitor sends no more, or when the handler has returned.
func (v *visitor) readLoop() {
	for {
		m, err := v.stream.Recv()
		if err != nil || !v.admit(m.Reads) {
			v.mu.Lock()
			v.mu.ended = true
			v.mu.Unlock()
			wakeUp(v.wake)
			return
		}
		v.start(m.Reads)
	}
}

// readBytes is about what a read takes in memory.
func readBytes(r *peerv1.ForwardRead) int {
	bytes := answerOverhead
	for _, key := range r.Keys {
		bytes += answerOverhead + len(key)
	}
	return bytes
}

// admit waits for room for reads, and counts them. It fails when the stream has ended.
func (v *visitor) admit(reads []*peerv1.ForwardRead) bool {
	bytes := 0
	for _, r := range reads {
		bytes += readBytes(r)
	}
	for {
		v.mu.Lock()
		full := v.mu.open > 0 && v.mu.open+bytes > maxOpenReadBytes
		if !full {
			v.mu.open += bytes
		}
		v.mu.Unlock()
		if !full {
			return true
		}
		select {
		case <-v.room:
		case <-v.stream.Context().Done():
			return false
		}
	}
}

// readsKey says which reads run as one.
type readsKey struct {
	shard, epoch, staleMillis uint64
	namespace                 uint32
}

// start runs the reads of a message, those that can be one side by side with the others.
func (v *visitor) start(reads []*peerv1.ForwardRead) {
	groups := make(map[readsKey][]*peerv1.ForwardRead)
	for _, r := range reads {
		key := readsKey{shard: r.ShardId, epoch: r.Epoch, staleMillis: r.MaxStalenessMs, namespace: r.Namespace}
		groups[key] = append(groups[key], r)
	}
	for key, group := range groups {
		v.server.answering.Go(func() { v.run(key, group) })
	}
}

// run answers reads, each once, as many together as one read of a shard takes.
func (v *visitor) run(key readsKey, reads []*peerv1.ForwardRead) {
	for len(reads) > 0 {
		n, keys := 1, len(reads[0].Keys)
		for n < len(reads) && keys+len(reads[n].Keys) <= maxGetKeys {
			keys += len(reads[n].Keys)
			n++
		}
		v.runSome(key, reads[:n], keys)
		reads = reads[n:]
	}
}

// runSome answers reads that one read of a shard takes, or one by one when their values are too large
// to be read together.
func (v *visitor) runSome(key readsKey, reads []*peerv1.ForwardRead, keys int) {
	share := &budgetShare{bytes: replyBudget{gate: v.server.gate}, left: len(reads)}
	items, err := v.read(key, reads, keys, &share.bytes)
	tooLarge := errors.Is(err, api.ErrTooLarge)
	if tooLarge && len(reads) > 1 {
		for i := range reads {
			v.runSome(key, reads[i:i+1], len(reads[i].Keys))
		}
		return
	}
	var failure *pb.Failure
	if err != nil {
		failure = readFailure(err)
	}
	answers := make([]foundHere, len(reads))
	messages := make([]peerv1.ForwardFound, len(reads))
	list := itemsToPeer(items, false)
	for i, r := range reads {
		m := &messages[i]
		m.Id = r.Id
		answers[i] = foundHere{ForwardFound: m, bytes: answerOverhead, taken: readBytes(r), share: share}
		if err != nil {
			if m.TooLong = tooLarge && len(r.Keys) > 1; !m.TooLong {
				m.Failure = failure
			}
			continue
		}
		found := list[:len(r.Keys):len(r.Keys)]
		list = list[len(r.Keys):]
		if bytes := foundBytes(found); bytes <= smallAnswerBytes {
			m.Items, answers[i].bytes = found, bytes
		} else {
			m.TooLong = true
		}
	}
	v.answer(answers)
}

// foundBytes is about what an answer takes in a message.
func foundBytes(found []*peerv1.ForwardItem) int {
	bytes := answerOverhead
	for _, item := range found {
		bytes += answerOverhead + len(item.Value)
	}
	return bytes
}

// readFailure is an error of a read for the wire. One without a code is the end of a context.
func readFailure(err error) *pb.Failure {
	var e *api.Error
	if !errors.As(err, &e) {
		return failureToPeer(api.FromStatus(status.FromContextError(err).Err(), false))
	}
	return failureToPeer(err)
}

// read reads the keys of all reads at one moment. If it panics, that is the answer.
func (v *visitor) read(key readsKey, reads []*peerv1.ForwardRead, count int, bytes *replyBudget) (items []api.Item, err error) {
	defer func() {
		if p := recover(); p != nil {
			v.server.opts.Logger.Error("a forwarded read panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = api.Errorf(api.CodeInternal, "internal error in a forwarded read; see the node's log")
		}
	}()
	keys := make([][]byte, 0, count)
	longest := uint64(0)
	var parents []string
	for _, r := range reads {
		keys = append(keys, r.Keys...)
		longest = max(longest, r.TimeoutMs)
		parents = append(parents, r.Traceparents...)
	}
	if len(keys) == 0 || len(keys) > maxGetKeys {
		return nil, api.Errorf(api.CodeInvalid, "forwarded read of %d keys", len(keys))
	}
	ns := api.Namespace(key.namespace)
	if err := checkKeys(ns, keys); err != nil {
		return nil, err
	}
	ctx, leave, err := v.server.gate.enter(v.stream.Context(), 0)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, duration(min(longest, maxReadMillis)))
	defer cancel()
	ctx, span := v.server.opts.Tracer.Continue(ctx, "serve get", parents)
	defer func() { span.End(err) }()
	sh, err := forwardService{server: v.server}.replica(key.shard)
	if err != nil {
		return nil, err
	}
	items, err = v.server.readKeys(sh, api.ShardID(key.shard), api.Epoch(key.epoch), ns, duration(key.staleMillis))(ctx, keys)
	if err == nil && len(items) != len(keys) {
		err = api.Errorf(api.CodeInternal, "a replica answered %d of %d keys", len(items), len(keys))
	}
	if err == nil {
		err = bytes.addItems(items)
	}
	return items, err
}

// maxReadMillis bounds the time that another node may ask for, which is a fraction of it.
const maxReadMillis = uint64(time.Hour / time.Millisecond)

// answer hands answers to the handler. What is too much to wait for the visitor is refused.
func (v *visitor) answer(answers []foundHere) {
	v.mu.Lock()
	for _, a := range answers {
		if a.bytes > answerOverhead && v.mu.bytes > 0 && v.mu.bytes+a.bytes > maxOpenAnswerBytes {
			a.Items, a.bytes = nil, answerOverhead
			a.Failure = failureToPeer(api.Errorf(api.CodeOverloaded, "answers of %d bytes wait to be sent", v.mu.bytes))
		}
		v.mu.bytes += a.bytes
		v.mu.answers = append(v.mu.answers, a)
	}
	v.mu.Unlock()
	wakeUp(v.wake)
}
