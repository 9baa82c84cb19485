package shard

import (
	"context"
	"errors"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/trace"
)

// Outcome is what one command of a Pending came to.
type Outcome struct {
	Result api.Result
	Err    error

	writes  bool // it goes through the log
	taken   bool // it was proposed
	settled bool // Result or Err is set, by who answers it
	// version is that of this execution of the command, also when the result is that of an earlier
	// one; 0 if it was not executed.
	version api.Version
}

// Pending are commands of one caller on their way through a shard, in their order.
type Pending struct {
	// Set by Begin, never written again.
	shard    *Shard
	commands []Command
	since    time.Time
	done     chan struct{} // closed when open is 0; nil when nothing goes through the log
	trace    pendingTrace

	// Guarded by the proposer's mutex until done is closed or over is set.
	outcomes []Outcome
	one      [1]Outcome // the memory of outcomes when there is one
	open     int        // commands in the log's hands
	failed   error      // why nothing more of it may be proposed
	over     bool       // the caller has gone
}

func newPending(count int) *Pending {
	w := &Pending{}
	if w.outcomes = w.one[:]; count != 1 {
		w.outcomes = make([]Outcome, count)
	}
	return w
}

// Begin puts commands on their way, in their order, and does not wait. Each sees what the ones
// before it did. If one of them is not executed for a reason that a retry may cure, none behind
// it is, so that a caller may begin again from there, under the same request ids. A command that
// can never be applied is answered as such and keeps no other from being applied. The caller
// keeps the commands and what they point to unchanged until Wait has returned.
//
// Commands that all only read need no entry of the log, and are answered from one snapshot. Those
// among writes are answered as of their place: with what was there before the write that follows
// them. They have no entry either.
func (s *Shard) Begin(ctx context.Context, commands []Command) *Pending {
	w := s.prepare(commands)
	if w.open == 0 {
		return w
	}
	err := ctx.Err()
	switch {
	case err != nil:
		err = api.Errorf(api.CodeExpired, "not proposed: %w", context.Cause(ctx))
	case !s.group.IsReadyLeader():
		err = s.notLeader()
	default:
		w.trace.begin(trace.FromContext(ctx))
		err = s.proposer.begin(w)
	}
	for i := 0; i < len(w.outcomes) && err != nil; i++ {
		if o := &w.outcomes[i]; o.writes {
			o.Err = err
		}
	}
	return w
}

// prepare checks the form of commands and counts those that go through the log.
func (s *Shard) prepare(commands []Command) *Pending {
	w := newPending(len(commands))
	w.shard, w.commands = s, commands
	s.requests.Add(uint64(len(commands)))
	for i := range commands {
		o := &w.outcomes[i]
		if err := commands[i].Validate(); err != nil {
			o.Err, o.settled = err, true
		} else if !commands[i].ReadsOnly() {
			o.writes = true
			w.open++
		}
	}
	return w
}

// Wait returns the outcomes, one for each command, in their order. Once ctx ends, what is not
// proposed is refused and what is has an unknown outcome. It is called once.
func (w *Pending) Wait(ctx context.Context) []Outcome {
	if w.done != nil {
		select {
		case <-w.done:
		case <-ctx.Done():
			w.shard.proposer.abandon(w, context.Cause(ctx))
		}
	}
	w.read(ctx)
	for i := range w.outcomes {
		if o := &w.outcomes[i]; o.Err != nil {
			o.Err = hint(o.Err, w.shard.options.ID)
		}
	}
	return w.outcomes
}

// stages reports whether all of it are parts of values. Such commands have no order among others: their batch
// comes when they are answered.
func (w *Pending) stages() bool {
	for i := range w.commands {
		if w.outcomes[i].writes && w.commands[i].Stage == nil {
			return false
		}
	}
	return w.open > 0
}

// settleLocked sets an outcome, and adds the Pending to those that are over if it was the last.
func (w *Pending) settleLocked(over []*Pending, at int, o Outcome) []*Pending {
	if w.over || w.outcomes[at].settled {
		return over
	}
	o.writes, o.settled = true, true
	w.outcomes[at] = o
	if w.open--; w.open == 0 {
		return append(over, w)
	}
	return over
}

// breakLocked keeps what is still queued from being proposed, after a command was not executed,
// or perhaps not.
func (w *Pending) breakLocked(err error) {
	switch {
	case w.failed != nil:
	case api.Row(api.CodeOf(err)).Outcome == api.NotExecuted:
		w.failed = err
	default:
		w.failed = api.Errorf(api.CodeUnavailable, "not proposed: the outcome of a command before it is unknown")
	}
}

// finish wakes the callers whose commands are all settled.
func finish(over []*Pending) {
	for _, w := range over {
		close(w.done)
	}
}

// read answers the commands that only read.
func (w *Pending) read(ctx context.Context) {
	for i := 0; i < len(w.outcomes); {
		end := i
		for end < len(w.outcomes) && !w.outcomes[end].writes {
			end++
		}
		if end > i {
			w.readBetween(ctx, i, end)
		}
		i = end + 1
	}
}

// readBetween answers the reads [start, end), which stand between two writes, as of the version
// of the write before them, or if there is none, as of the one before the write behind them. That
// is a moment at which this replica led, between Begin and now: the entry of that write was
// committed. And it is later than any time that an earlier read judged expiries by, because that
// would have been below every version that was still to be given (S3). Without any write they are
// one linearizable read.
func (w *Pending) readBetween(ctx context.Context, start, end int) {
	at, err := w.anchor(start, end)
	switch {
	case err != nil:
	case at == 0:
		err = w.shard.read(ctx, w.epoch(start, end), func(v *view) error { return w.readAll(v, start, end) })
	default:
		_, err = w.shard.viewAt(w.epoch(start, end), at, 0, func(v *view) error {
			v.exactly(at)
			return w.readAll(v, start, end)
		})
		if errors.Is(err, engine.ErrSnapshotTooOld) {
			err = api.Errorf(api.CodeUnavailable, "the read waited until the version it is for was forgotten: %w", err)
		} else if err != nil {
			err = readError(err)
		}
	}
	for i := start; i < end && err != nil; i++ {
		if o := &w.outcomes[i]; !o.settled {
			o.Err = err
		}
	}
}

func (w *Pending) epoch(start, end int) api.Epoch {
	for i := start; i < end; i++ {
		if !w.outcomes[i].settled {
			return w.commands[i].Epoch
		}
	}
	return 0
}

// anchor is the version at which to read what stands in [start, end); 0 when nothing of the
// Pending goes through the log.
func (w *Pending) anchor(start, end int) (api.Version, error) {
	if start > 0 {
		return w.outcomes[start-1].after()
	}
	if end == len(w.outcomes) {
		return 0, nil
	}
	if o := &w.outcomes[end]; o.version != 0 {
		return o.version - 1, nil
	}
	return w.outcomes[end].after()
}

// after is the version of a write, or why what stands behind it must not be answered.
func (o *Outcome) after() (api.Version, error) {
	switch {
	case o.Err == nil || o.version != 0 && !api.Row(api.CodeOf(o.Err)).Retry:
		return o.version, nil
	case api.Row(api.CodeOf(o.Err)).Outcome == api.NotExecuted:
		return 0, o.Err
	default:
		return 0, api.Errorf(api.CodeUnavailable, "the outcome of the write beside the read is unknown")
	}
}

// readAll answers the reads in [start, end) from a view.
func (w *Pending) readAll(v *view, start, end int) error {
	for i := start; i < end; i++ {
		o := &w.outcomes[i]
		if o.settled {
			continue
		}
		var refusal *api.Error
		var err error
		if o.Result, refusal, err = v.evaluate(&w.commands[i]); err != nil {
			return err
		}
		if o.Err = nil; refusal != nil {
			o.Err = refusal
		}
	}
	return nil
}

// ApplyInOrder is Begin and Wait: it applies the commands of one caller in their order and returns
// their outcomes.
func (s *Shard) ApplyInOrder(ctx context.Context, commands []Command) []Outcome {
	return s.Begin(ctx, commands).Wait(ctx)
}
