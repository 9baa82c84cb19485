package server

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/shard"
)

const (
	// maxForwardCommands and maxForwardBytes are where a message to another node is full: an entry of
	// its log holds no more, and what is behind it waits.
	maxForwardCommands = 1024
	maxForwardBytes    = 1 << 20

	// maxForwardMessages is how many messages to one shard are under way at a time, as many as a
	// proposer has entries. What comes meanwhile goes together in the next one.
	maxForwardMessages = 4

	// maxForwardAnswerBytes bounds the results of one message. With one more, which is a batch's, it
	// is still a message that gRPC takes.
	maxForwardAnswerBytes = 1 << 20
)

// castagnoli is the polynomial of the checksums of forwarded commands.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// forwarder packs the writes of all callers that go to one shard on another node. The zero value is
// ready. Safe for concurrent use.
type forwarder struct {
	carriers sync.WaitGroup // grows only while the gate counts a request

	// mu is a leaf: nothing is locked and no I/O is done while it is held.
	mu     sync.Mutex
	queues map[forwardTarget]*forwardQueue // with something waiting or under way
}

type forwardTarget struct {
	node  api.NodeID
	shard api.ShardID
	// parts says that it is parts of values that are sent: others do not wait for them.
	parts bool
}

// forwardQueue is guarded by forwarder.mu.
type forwardQueue struct {
	waiting  []*forwarded
	messages int // under way
}

// forwarded is the commands of one caller on their way to another node.
type forwarded struct {
	// ctx is the caller's, who waits no longer than that.
	ctx      context.Context
	commands [][]byte
	sums     []uint32 // of the commands
	bytes    int
	message  *forwardMessage // nil before it is sent; guarded by forwarder.mu
	done     chan []shard.Outcome
}

// forwardMessage is one message under way. It is given up when every caller has given up.
type forwardMessage struct {
	parts  []*forwarded
	cancel context.CancelFunc
	left   int // callers that wait; guarded by forwarder.mu
}

// applyElsewhere applies commands of one shard at another node, in their order: behind one that has
// to be sent again none is applied. ctx has a deadline.
func (s *Server) applyElsewhere(ctx context.Context, at place, commands []shard.Command) (outcomes []shard.Outcome) {
	ctx, span := beginForward(ctx, at.node, "apply")
	defer func() { span.End(firstFailure(outcomes)) }()
	for len(outcomes) < len(commands) {
		f := newForwarded(ctx, commands[len(outcomes):])
		part := s.forwardCommands(ctx, forwardTarget{at.node, at.shard.ID, commands[0].Stage != nil}, f)
		if outcomes = append(outcomes, part...); len(outcomes) == len(commands) {
			break
		}
		for _, o := range part {
			if o.Err != nil && (&attempts{write: true}).next(o.Err) != stepStop {
				behind := api.Errorf(api.CodeUnavailable, "not sent behind a command that is open: %s", o.Err.Error())
				return append(outcomes, allFailed(len(commands)-len(outcomes), behind)...)
			}
		}
	}
	return outcomes
}

func firstFailure(outcomes []shard.Outcome) error {
	for i := range outcomes {
		if outcomes[i].Err != nil {
			return outcomes[i].Err
		}
	}
	return nil
}

// newForwarded encodes the first of some commands, as many as a message has room for.
func newForwarded(ctx context.Context, commands []shard.Command) *forwarded {
	f := &forwarded{ctx: ctx, done: make(chan []shard.Outcome, 1)}
	for i := range commands[:min(len(commands), maxForwardCommands)] {
		command := shard.EncodeCommand(commands[i])
		if i > 0 && f.bytes+len(command) > maxForwardBytes {
			break
		}
		f.commands = append(f.commands, command)
		f.sums = append(f.sums, crc32.Checksum(command, castagnoli))
		f.bytes += len(command)
	}
	return f
}

// forwardCommands sends the commands of one caller and waits for their outcomes, for as long as the
// caller does.
func (s *Server) forwardCommands(ctx context.Context, to forwardTarget, f *forwarded) []shard.Outcome {
	s.forwards.add(s, to, f)
	select {
	case outcomes := <-f.done:
		return outcomes
	case <-ctx.Done():
	}
	sent := s.forwards.abandon(to, f)
	select {
	case outcomes := <-f.done: // it came in the meantime
		return outcomes
	default:
	}
	if !sent {
		return allFailed(len(f.commands), api.Errorf(api.CodeExpired, "node %s was not reached in time", to.node))
	}
	return allFailed(len(f.commands), api.Errorf(api.CodeUnknownOutcome, "node %s did not answer in time: %w", to.node, context.Cause(ctx)))
}

// add queues commands, and starts a carrier if fewer than allowed are under way.
func (f *forwarder) add(s *Server, to forwardTarget, more *forwarded) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.queues[to]
	if q == nil {
		q = &forwardQueue{}
		if f.queues == nil {
			f.queues = make(map[forwardTarget]*forwardQueue)
		}
		f.queues[to] = q
	}
	q.waiting = append(q.waiting, more)
	if q.messages < maxForwardMessages {
		q.messages++
		f.carriers.Go(func() { s.carry(to, q) })
	}
}

// abandon forgets commands whose caller gave up, and tells whether they were sent. The queue holds
// nothing of callers who have gone.
func (f *forwarder) abandon(to forwardTarget, gone *forwarded) (sent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := gone.message; m != nil {
		if m.left--; m.left == 0 {
			m.cancel()
		}
		return true
	}
	if q := f.queues[to]; q != nil {
		if i := slices.Index(q.waiting, gone); i >= 0 {
			q.waiting = slices.Delete(q.waiting, i, i+1)
		}
	}
	return false
}

// take makes the next message of a queue. When nothing waits it is nil, and the carrier is counted
// out.
func (f *forwarder) take(to forwardTarget, q *forwardQueue) (context.Context, *forwardMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, count, bytes := 0, 0, 0
	var latest *forwarded
	for _, w := range q.waiting {
		if n > 0 && (count+len(w.commands) > maxForwardCommands || bytes+w.bytes > maxForwardBytes) {
			break
		}
		n++
		count += len(w.commands)
		bytes += w.bytes
		if latest == nil || deadline(w).After(deadline(latest)) {
			latest = w
		}
	}
	if n == 0 {
		if q.messages--; q.messages == 0 {
			delete(f.queues, to)
		}
		return nil, nil
	}
	m := &forwardMessage{parts: slices.Clone(q.waiting[:n]), left: n}
	q.waiting = slices.Delete(q.waiting, 0, n)
	for _, w := range m.parts {
		w.message = m
	}
	var ctx context.Context
	ctx, m.cancel = context.WithDeadline(m.traced(context.Background()), deadline(latest))
	return ctx, m
}

// traced is ctx in the traces of all that the message carries.
func (m *forwardMessage) traced(ctx context.Context) context.Context {
	var all *trace.Span
	for _, w := range m.parts {
		if span := trace.FromContext(w.ctx); span != nil {
			all = trace.Join(all, span)
		}
	}
	return all.Context(ctx)
}

func deadline(w *forwarded) time.Time {
	at, _ := w.ctx.Deadline()
	return at
}

// carry sends what waits in a queue until nothing does.
func (s *Server) carry(to forwardTarget, q *forwardQueue) {
	for {
		ctx, m := s.forwards.take(to, q)
		if m == nil {
			return
		}
		outcomes := s.sendForwarded(ctx, to, m)
		m.cancel()
		for _, w := range m.parts {
			w.done <- outcomes[:len(w.commands):len(w.commands)]
			outcomes = outcomes[len(w.commands):]
		}
	}
}

// sendForwarded sends a message and returns the outcomes of its commands.
func (s *Server) sendForwarded(ctx context.Context, to forwardTarget, m *forwardMessage) []shard.Outcome {
	req := &peerv1.ForwardApplyRequest{ShardId: uint64(to.shard)}
	for _, w := range m.parts {
		req.Commands = append(req.Commands, w.commands...)
		req.Checksums = append(req.Checksums, w.sums...)
	}
	res, err := s.callApply(ctx, to.node, req)
	if err == nil && len(res.Outcomes) != len(req.Commands) {
		err = api.Errorf(api.CodeInternal, "node %s gave %d answers to %d commands", to.node, len(res.Outcomes), len(req.Commands))
	}
	if err != nil {
		for range req.Commands {
			s.opts.OnForward("apply", api.CodeOf(err))
		}
		return allFailed(len(req.Commands), err)
	}
	outcomes := outcomesFromPeer(to.node, res.Outcomes)
	for i := range outcomes {
		s.opts.OnForward("apply", api.CodeOf(outcomes[i].Err))
	}
	return outcomes
}

// outcomesFromPeer takes an outcome that was damaged on its way for an unknown one.
func outcomesFromPeer(node api.NodeID, list []*peerv1.ForwardOutcome) []shard.Outcome {
	outcomes, sum := make([]shard.Outcome, len(list)), outcomeSum{}
	for i, o := range list {
		failure, result := o.GetFailure(), o.GetResult()
		switch {
		case failure == nil && result == nil, o.Checksum != sum.of(o):
			outcomes[i].Err = api.Errorf(api.CodeUnknownOutcome, "an answer of node %s was damaged on its way", node)
		case failure != nil:
			outcomes[i].Err = api.FromDetail(failure.Message, failure.Detail)
		default:
			outcomes[i].Result = resultFromPeer(result)
		}
	}
	return outcomes
}

func (s *Server) callApply(ctx context.Context, node api.NodeID, req *peerv1.ForwardApplyRequest) (*peerv1.ForwardApplyResponse, error) {
	conn, err := s.opts.Peers.Conn(node, peers.Forward)
	if err != nil {
		return nil, fmt.Errorf("forward apply: %w", err)
	}
	if err := ready(ctx, conn, node); err != nil {
		return nil, err
	}
	res, err := peerv1.NewForwardClient(conn).Apply(ctx, req)
	return res, api.FromStatus(err, true)
}
