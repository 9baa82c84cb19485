package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/raft"
)

// Limits of the proposer.
const (
	// maxEntryBytes is where an entry is full. A single larger command gets an entry alone.
	// Replication sends whole entries; 256 KiB take about 2 ms on a gigabit link, so that an
	// entry behind it does not wait long.
	maxEntryBytes = 256 << 10

	// maxInFlight entries hide the latency of the log and the network; more would only make
	// smaller entries, because what waits is packed together. Behind the first, an entry flies only
	// if it is full or carries as much as all that fly: each entry costs every replica a sync and
	// several wake-ups, whatever its size.
	maxInFlight = 4

	// maxPartsInFlight entries of parts of values fly at a time, each a full one. So a small command waits behind
	// one of them in the log, however many wait.
	maxPartsInFlight = 1

	// maxQueueCommands and maxQueueBytes bound what waits: sixteen full entries, or four of the
	// largest commands. Beyond them a command is refused at once, since it would wait for longer
	// than its caller.
	maxQueueCommands = 16 * maxEntryCommands
	maxQueueBytes    = 4 * api.MaxEntryBytes

	// maxQueueAge is how long a command may wait to be proposed. A group that makes no room for an
	// entry in four election timeouts has no majority or no disk that works, and what waits longer
	// would be answered after its caller has gone.
	maxQueueAge = 2 * time.Second

	// maxCommandBytes is the largest encoded command that fits into an entry.
	maxCommandBytes = api.MaxEntryBytes - entryHeadroom - commandLengthBytes - entryChecksumBytes
)

// log is where a proposer puts its entries.
type log interface {
	// Ready fails with NOT_LEADER if Propose would: then no time is to be made for an entry.
	Ready() error
	// Propose offers an entry. settled is called once, by any goroutine, with the result of apply,
	// an *Applied. An error that is not UNKNOWN_OUTCOME, or of that class, means that the entry was
	// not and will not be applied.
	Propose(data []byte, settled func(result any, index api.Index, err error))
	// Term is the current term, at or above that of everything proposed so far.
	Term() api.Term
	// Applied is shard time here.
	Applied() api.Version
}

// proposer packs waiting commands into entries and gives each caller its own answers. Safe for
// concurrent use.
type proposer struct {
	// Set by newProposer, never written again.
	log       log
	clock     *hybridClock
	stopwatch clock.Clock
	wake      chan struct{} // capacity 1: there may be something to propose
	stop      chan struct{}
	level     func() uint8 // of entries that are made now
	follow    func(data []byte) (end func() raft.Passage)
	loops     sync.WaitGroup

	// Owned by loop: the run that goes on with the next entry (S9), and the term it began in.
	run, sequence uint64
	term          api.Term

	// mu is a leaf.
	mu struct {
		sync.Mutex
		closed bool
		// queue is what waits, but for parts of values, which wait in parts: only maxPartsInFlight entries of
		// these fly at a time, and the others' go before each of them.
		queue, parts packing
		partFlew     bool // last
		// flying are the entries that were proposed and are not settled.
		flying []*entry
		// broken says that an entry of the run was not applied for certain: the next one begins
		// another run, once nothing is flying.
		broken bool
		// soon is set while a tick that nobody waits for is on its way.
		soon bool
	}
}

func newProposer(l log, c *hybridClock, stopwatch clock.Clock) *proposer {
	return &proposer{
		log: l, clock: c, stopwatch: stopwatch, wake: make(chan struct{}, 1), stop: make(chan struct{}),
		level:  func() uint8 { return 0 },
		follow: func([]byte) func() raft.Passage { return func() raft.Passage { return raft.Passage{} } },
	}
}

func (p *proposer) start() {
	p.loops.Add(1)
	go p.loop()
}

// close refuses what waits and what comes. Entries that are flying may yet be applied; their
// callers are told that the outcome is unknown.
func (p *proposer) close() {
	p.mu.Lock()
	closed := p.mu.closed
	p.mu.closed = true
	var over []*Pending
	for _, e := range p.mu.flying {
		over = e.failLocked(over, api.Errorf(api.CodeUnknownOutcome, "proposed, and the shard is closing"))
	}
	for _, e := range slices.Concat(p.mu.queue.entries, p.mu.parts.entries) {
		over = e.failLocked(over, api.Errorf(api.CodeShuttingDown, "the shard is closing"))
	}
	p.mu.flying, p.mu.queue, p.mu.parts = nil, packing{}, packing{}
	p.mu.Unlock()
	finish(over)
	if !closed {
		close(p.stop)
	}
	p.loops.Wait()
}

// begin queues the writes of a Pending, all of them or none, with one wake-up.
func (p *proposer) begin(w *Pending) error {
	size := 0
	for i := range w.commands {
		if w.outcomes[i].writes {
			size += commandSize(&w.commands[i])
		}
	}
	now := p.stopwatch.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	q := &p.mu.queue
	if w.stages() {
		q = &p.mu.parts
	}
	if err := p.admitLocked(q, w.open, size, now); err != nil {
		return err
	}
	w.since, w.done = now, make(chan struct{})
	for i := range w.commands {
		if w.outcomes[i].writes {
			q.add(w, i)
		}
	}
	p.wakeLocked()
	return nil
}

// admitLocked refuses early what would wait for too long.
func (p *proposer) admitLocked(q *packing, commands, bytes int, now time.Time) error {
	switch {
	case p.mu.closed:
		return api.Errorf(api.CodeShuttingDown, "the shard is closing")
	case q.commands+commands > maxQueueCommands:
		return api.Errorf(api.CodeOverloaded, "%d commands wait to be proposed", q.commands)
	case q.bytes > 0 && q.bytes+bytes > maxQueueBytes:
		return api.Errorf(api.CodeOverloaded, "%d bytes of commands wait to be proposed", q.bytes)
	case len(q.entries) > 0 && now.Sub(q.entries[0].begun) > maxQueueAge:
		return errWaited
	}
	return nil
}

var errWaited = api.Errorf(api.CodeOverloaded, "commands wait for more than %s to be proposed", maxQueueAge)

// wakeLocked wakes the loop if there is something for it to do. What waits for room is seen again
// when an entry settles.
func (p *proposer) wakeLocked() {
	if len(p.mu.flying) > 0 && p.nextLocked() == nil {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// loop proposes whenever something waits and may fly. What
// comes while they are is packed together.
func (p *proposer) loop() {
	defer p.loops.Done()
	for {
		select {
		case <-p.wake:
			for p.proposeNext() {
			}
		case <-p.stop:
			return
		}
	}
}

// proposeNext proposes one entry; false when there is none to propose now. A replica that is not
// ready makes no time for it: its wall clock may be off, and the hybrid clock would remember it.
func (p *proposer) proposeNext() bool {
	term := p.log.Term()
	e, fresh := p.take(term)
	if e == nil {
		return false
	}
	e.trace = newEntryTrace(e)
	if err := p.log.Ready(); err != nil {
		p.settle(e, nil, err)
		return true
	}
	if e.writer.count == 0 {
		// Reads need not mind it: a tick judges no row.
		e.time = p.clock.stamp(1, p.log.Applied())
	} else {
		e.time = p.clock.begin(e.writer.count+1, p.log.Applied())
	}
	if fresh {
		p.run, p.sequence, p.term = uint64(e.time), 0, term
	}
	data := e.writer.finish(Entry{
		Time: e.time, CeilingMillis: e.time.Millis() + maxCeilingAheadMillis, Run: p.run, Sequence: p.sequence,
		Level: p.level(),
	}, e.tick)
	e.writer = entryWriter{} // the log owns it
	p.sequence++
	if e.trace != nil {
		e.trace.followed = p.follow(data)
	}
	p.log.Propose(data, func(result any, _ api.Index, err error) { p.settle(e, result, err) })
	return true
}

// take takes the oldest entry off the queue, without the commands that are not to be proposed any
// more; nil when there is none, or none may be proposed now. fresh says that it begins a run.
func (p *proposer) take(term api.Term) (e *entry, fresh bool) {
	nowMillis, now := clock.Millis(p.clock.wall), p.stopwatch.Now()
	var over []*Pending
	defer func() { finish(over) }()
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh = p.mu.broken || term != p.term || p.run == 0
	if len(p.mu.flying) > 0 && fresh {
		return nil, false
	}
	for q := p.nextLocked(); q != nil; q = p.nextLocked() {
		e = q.pop()
		over = e.pruneLocked(over, nowMillis, now)
		if e.empty() {
			continue
		}
		e.isParts = q == &p.mu.parts
		p.mu.partFlew = e.isParts
		for i := range e.places {
			e.places[i].outcome().taken = true
		}
		p.mu.flying = append(p.mu.flying, e)
		p.mu.broken = false
		return e, fresh
	}
	return nil, false
}

// nextLocked is the queue of which an entry may fly beside those that do; nil if there is none. Parts and
// others take turns.
func (p *proposer) nextLocked() *packing {
	parts, others := 0, 0
	commands := 0
	for _, e := range p.mu.flying {
		if e.isParts {
			parts++
		} else {
			others++
			commands += len(e.places)
		}
	}
	part := len(p.mu.parts.entries) > 0 && parts < maxPartsInFlight
	other := len(p.mu.queue.entries) > 0 && (others == 0 || others < maxInFlight &&
		(len(p.mu.queue.entries) > 1 || p.mu.queue.commands > 0 && p.mu.queue.commands >= commands)) // the first of several is full
	switch {
	case part && (!other || !p.mu.partFlew):
		return &p.mu.parts
	case other:
		return &p.mu.queue
	}
	return nil
}

// settle tells the callers of an entry what became of it.
func (p *proposer) settle(e *entry, result any, err error) {
	applied, ok := result.(*Applied)
	if err == nil && (!ok || len(applied.Answers) != len(e.places)+e.ticked()) {
		err = api.Errorf(api.CodeInternal, "apply answered an entry of %d commands with a %T", len(e.places), result)
	}
	err = classify(err)
	e.trace.end(err)
	switch {
	case e.time == 0:
	case err == nil || api.Row(api.CodeOf(err)).Outcome == api.NotExecuted:
		p.clock.settle(e.time)
	default:
		p.clock.abandon(e.time, p.log.Term())
	}
	var over []*Pending
	p.mu.Lock()
	p.mu.flying = without(p.mu.flying, e)
	p.mu.soon = p.mu.soon && !e.soon
	p.mu.broken = p.mu.broken || err != nil || applied.Broken
	if err != nil {
		over = e.failLocked(over, err)
	} else {
		over = e.answerLocked(over, applied)
	}
	if len(p.mu.queue.entries)+len(p.mu.parts.entries) > 0 {
		p.wakeLocked()
	}
	p.mu.Unlock()
	finish(over)
}

func without(entries []*entry, e *entry) []*entry {
	for i := range entries {
		if entries[i] == e {
			return append(entries[:i], entries[i+1:]...)
		}
	}
	return entries
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

// abandon ends the wait for a Pending: what is not proposed never will be, and the outcome of what
// is is open. An answer that came in the meantime counts.
func (p *proposer) abandon(w *Pending, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.open == 0 {
		return
	}
	w.failed = api.Errorf(api.CodeExpired, "not proposed: %w", cause)
	w.over = true
	for i := range w.outcomes {
		switch o := &w.outcomes[i]; {
		case o.settled || !o.writes:
		case o.taken:
			o.Err = api.Errorf(api.CodeUnknownOutcome, "proposed, and not answered in time: %w", cause)
		default:
			o.Err = w.failed
		}
	}
}

// tick moves shard time to the leader's clock, or beyond what waits before it.
func (p *proposer) tick(ctx context.Context) error {
	w := newPending(1)
	if err := p.beginTick(w); err != nil {
		return fmt.Errorf("move shard time: %w", err)
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		p.abandon(w, context.Cause(ctx))
	}
	if err := w.outcomes[0].Err; err != nil {
		return fmt.Errorf("move shard time: %w", err)
	}
	return nil
}

// tickSoon has shard time moved and does not wait. There is one such tick at a time.
func (p *proposer) tickSoon() {
	now := p.stopwatch.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.soon || p.mu.closed {
		return
	}
	p.mu.soon = true
	e := p.mu.queue.last(now)
	e.tick, e.soon = true, true
	p.wakeLocked()
}

// beginTick queues a tick.
func (p *proposer) beginTick(w *Pending) error {
	now := p.stopwatch.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.admitLocked(&p.mu.queue, 0, 0, now); err != nil {
		return err
	}
	w.since, w.open, w.done, w.outcomes[0].writes = now, 1, make(chan struct{}), true
	e := p.mu.queue.last(now)
	e.tick = true
	e.ticks = append(e.ticks, w)
	p.wakeLocked()
	return nil
}
