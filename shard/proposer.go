package shard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/api"
)

// Limits of the proposer.
const (
	// maxEntryBytes is where an entry is full. A single larger command gets an entry alone.
	// Replication sends whole entries; 256 KiB take about 2 ms on a gigabit link, so that an
	// entry behind it does not wait long.
	maxEntryBytes = 256 << 10

	// maxInFlight entries hide the latency of the log and the network; more would only make
	// smaller entries, because what waits is packed together.
	maxInFlight = 4

	// maxQueueCommands and maxQueueBytes bound what waits: sixteen full entries, or four of the
	// largest commands. Beyond them a command is refused at once, since it would wait for longer
	// than its caller.
	maxQueueCommands = 16 * maxEntryCommands
	maxQueueBytes    = 4 * api.MaxEntryBytes

	// maxCommandBytes is the largest encoded command that fits into an entry.
	maxCommandBytes = api.MaxEntryBytes - entryHeaderBytes - 2*uvarintBytes - entryChecksumBytes
)

// log is where a proposer puts its entries.
type log interface {
	// Ready fails with NOT_LEADER if Propose would: then no time is to be made for an entry.
	Ready() error
	// Propose offers an entry. It does not block.
	Propose(data []byte) proposal
	// Term is the current term, at or above that of everything proposed so far.
	Term() api.Term
	// Applied is shard time here.
	Applied() api.Version
}

// proposal is an entry on its way.
type proposal interface {
	// Wait returns the result of apply, []Answer. An error that is not UNKNOWN_OUTCOME, or of
	// that class, means that the entry was not and will not be applied.
	Wait(ctx context.Context) (any, api.Index, error)
}

// proposer packs waiting commands into entries and gives each waiter its own answer. Safe for
// concurrent use.
type proposer struct {
	// Set by newProposer, never written again.
	log    log
	clock  *hybridClock
	ctx    context.Context // ends when the proposer is closed
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1: the queue may have something
	slots  chan struct{} // one token for each entry in flight
	loops  sync.WaitGroup

	// queue is a leaf.
	queue struct {
		sync.Mutex
		closed  bool
		waiting []*waiter
		bytes   int
		// soon is the last tick that nobody waits for.
		soon *waiter
	}
}

// waiter is one caller's command on its way.
type waiter struct {
	// command is encoded; nil asks for a tick.
	command []byte
	// taken is set by whoever decides first: the loop that proposes it, or the caller that
	// gives up. Only a command that nobody proposed was certainly not executed.
	taken atomic.Bool
	// done has capacity 1 and gets exactly one value once the loop has taken the waiter.
	done chan settled
}

type settled struct {
	answer Answer
	err    error
}

func newProposer(l log, c *hybridClock) *proposer {
	p := &proposer{
		log: l, clock: c,
		wake: make(chan struct{}, 1), slots: make(chan struct{}, maxInFlight),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *proposer) start() {
	p.loops.Add(1)
	go p.loop()
}

// close refuses what waits and what comes, and waits until nothing is in flight. Entries in
// flight may yet be applied; their waiters are told that the outcome is unknown.
func (p *proposer) close() {
	p.queue.Lock()
	p.queue.closed = true
	p.queue.Unlock()
	p.cancel()
	p.loops.Wait()
}

// submit proposes an encoded command, or a tick when it is nil, and waits for its answer.
func (p *proposer) submit(ctx context.Context, command []byte) (Answer, error) {
	waiters, err := p.begin([][]byte{command})
	if err != nil {
		return Answer{}, err
	}
	return waiters[0].wait(ctx)
}

// begin queues commands of one caller, all of them or none.
func (p *proposer) begin(commands [][]byte) ([]*waiter, error) {
	waiters := make([]*waiter, len(commands))
	for i, c := range commands {
		waiters[i] = &waiter{command: c, done: make(chan settled, 1)}
	}
	if err := p.enqueue(waiters...); err != nil {
		return nil, err
	}
	return waiters, nil
}

// wait returns the answer. A command that is not proposed when ctx ends never is.
func (w *waiter) wait(ctx context.Context) (Answer, error) {
	select {
	case s := <-w.done:
		return s.answer, s.err
	case <-ctx.Done():
		if w.taken.CompareAndSwap(false, true) {
			return Answer{}, api.Errorf(api.CodeExpired, "not proposed: %w", context.Cause(ctx))
		}
	}
	// It is proposed, so its outcome is open; an answer that came in the meantime still counts.
	select {
	case s := <-w.done:
		return s.answer, s.err
	default:
		return Answer{}, api.Errorf(api.CodeUnknownOutcome, "proposed, and not answered in time: %w", context.Cause(ctx))
	}
}

func (p *proposer) enqueue(waiters ...*waiter) error {
	bytes := 0
	for _, w := range waiters {
		bytes += len(w.command)
	}
	p.queue.Lock()
	defer p.queue.Unlock()
	switch {
	case p.queue.closed:
		return api.Errorf(api.CodeShuttingDown, "the shard is closing")
	case len(p.queue.waiting)+len(waiters) > maxQueueCommands:
		return api.Errorf(api.CodeOverloaded, "%d commands wait to be proposed", len(p.queue.waiting))
	case p.queue.bytes+bytes > maxQueueBytes:
		return api.Errorf(api.CodeOverloaded, "%d bytes of commands wait to be proposed", p.queue.bytes)
	}
	p.queue.waiting = append(p.queue.waiting, waiters...)
	p.queue.bytes += bytes
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

// loop proposes whenever something waits and fewer than maxInFlight entries are on their way.
// It takes the slot first, so that what comes while all slots are busy is packed together.
func (p *proposer) loop() {
	defer p.loops.Done()
	defer p.refuseAll()
	for {
		select {
		case <-p.wake:
		case <-p.ctx.Done():
			return
		}
		for {
			select {
			case p.slots <- struct{}{}:
			case <-p.ctx.Done():
				return
			}
			entry := p.take()
			if len(entry) == 0 {
				<-p.slots
				break
			}
			p.send(entry)
		}
	}
}

// take drains the queue up to one entry. Waiters that gave up are dropped.
func (p *proposer) take() []*waiter {
	p.queue.Lock()
	defer p.queue.Unlock()
	var entry []*waiter
	size, n := 0, 0
	for _, w := range p.queue.waiting {
		if len(entry) > 0 && (len(entry) == maxEntryCommands-1 || size+len(w.command) > maxEntryBytes) {
			break
		}
		n++
		p.queue.bytes -= len(w.command)
		if w.taken.CompareAndSwap(false, true) {
			entry = append(entry, w)
			size += len(w.command)
		}
	}
	clear(p.queue.waiting[:n])
	p.queue.waiting = p.queue.waiting[n:]
	return entry
}

// send proposes one entry; its slot is freed when it is settled. All ticks of an entry are one,
// and stand first, where they may clean up. A replica that is not ready makes no time for it: its
// wall clock may be off, and the hybrid clock would remember it.
func (p *proposer) send(entry []*waiter) {
	if err := p.log.Ready(); err != nil {
		<-p.slots
		for _, w := range entry {
			w.done <- settled{err: err}
		}
		return
	}
	commands := make([][]byte, 0, len(entry)+1)
	ticks := 0
	for _, w := range entry {
		if w.command == nil {
			ticks = 1
		}
	}
	if ticks == 1 {
		commands = append(commands, encodeTick())
	}
	for _, w := range entry {
		if w.command != nil {
			commands = append(commands, w.command)
		}
	}
	var t api.Version
	if len(commands) == ticks {
		// Reads need not mind it: a tick judges no row.
		t = p.clock.stamp(len(commands), p.log.Applied())
	} else {
		t = p.clock.begin(len(commands), p.log.Applied())
	}
	data := EncodeEntry(Entry{Time: t, CeilingMillis: t.Millis() + maxCeilingAheadMillis, Commands: commands})
	proposed := p.log.Propose(data)
	p.loops.Add(1)
	go p.complete(proposed, t, entry, ticks)
}

// complete waits for one entry and tells its waiters.
func (p *proposer) complete(proposed proposal, t api.Version, entry []*waiter, ticks int) {
	defer p.loops.Done()
	defer func() { <-p.slots }()
	result, _, err := proposed.Wait(p.ctx)
	var answers []Answer
	if err == nil {
		var ok bool
		if answers, ok = result.([]Answer); !ok {
			err = api.Errorf(api.CodeInternal, "apply answered with a %T", result)
		}
	}
	err = classify(err)
	if err == nil || api.Row(api.CodeOf(err)).Outcome == api.NotExecuted {
		p.clock.settle(t)
	} else {
		p.clock.abandon(t, p.log.Term())
	}
	next := ticks
	for _, w := range entry {
		s := settled{err: err}
		if err == nil && w.command != nil {
			if next >= len(answers) {
				s.err = api.Errorf(api.CodeInternal, "apply gave %d answers to an entry of more commands", len(answers))
			} else {
				s.answer = answers[next]
			}
			next++
		}
		w.done <- s
	}
}

// classify makes sure that whatever went wrong after a proposal says so: what has no code of its
// own leaves the outcome open (P6).
func classify(err error) error {
	var known *api.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return api.Errorf(api.CodeUnknownOutcome, "proposed: %w", err)
}

// refuseAll tells what still waits that nothing was proposed.
func (p *proposer) refuseAll() {
	p.queue.Lock()
	waiting := p.queue.waiting
	p.queue.waiting, p.queue.bytes = nil, 0
	p.queue.Unlock()
	for _, w := range waiting {
		if w.taken.CompareAndSwap(false, true) {
			w.done <- settled{err: api.Errorf(api.CodeShuttingDown, "the shard is closing")}
		}
	}
}

// tick moves shard time to the leader's clock, or beyond what waits before it.
func (p *proposer) tick(ctx context.Context) error {
	if _, err := p.submit(ctx, nil); err != nil {
		return fmt.Errorf("move shard time: %w", err)
	}
	return nil
}

// tickSoon has shard time moved and does not wait. There is one such tick at a time.
func (p *proposer) tickSoon() {
	w := &waiter{done: make(chan settled, 1)}
	p.queue.Lock()
	if last := p.queue.soon; last != nil && len(last.done) == 0 {
		p.queue.Unlock()
		return
	}
	p.queue.soon = w
	p.queue.Unlock()
	if err := p.enqueue(w); err != nil {
		w.done <- settled{err: err}
	}
}
