package shard

import (
	"time"

	"github.com/lightning-db/lightning/api"
)

// newEntryBytes is the first capacity of an entry's buffer: about ten small writes. It doubles
// while commands come.
const newEntryBytes = 4 << 10

// entry is an entry on its way, from its first command until it is settled. Its fields but time
// are guarded by the proposer's mutex; writer and time belong to the proposer's loop once the
// entry is off the queue.
type entry struct {
	begun  time.Time // when its oldest command came
	writer entryWriter
	places []place
	// tick says that the entry begins with a tick, for which ticks wait; soon, that it is also the
	// one that nobody waits for.
	tick  bool
	soon  bool
	ticks []*Pending
	time  api.Version
	// isParts says that it brings parts of values. It is set when the entry is taken.
	isParts bool
	// trace is set by the proposer's loop before the entry is proposed.
	trace *entryTrace
}

// packing is a queue of entries that are being packed, oldest first; commands are added to the last one. It is
// guarded by the proposer's mutex.
type packing struct {
	entries         []*entry
	commands, bytes int // that the entries hold together
}

// add encodes a command into the last entry, or into a new one.
func (q *packing) add(w *Pending, at int) {
	c := &w.commands[at]
	e := q.last(w.since)
	start := e.writer.size()
	e.writer.add(c)
	size := e.writer.size() - start
	if start > 0 && e.writer.size() > maxEntryBytes {
		next := newEntry(w.since, size)
		next.writer.buf = append(next.writer.buf, e.writer.buf[entryHeadroom+start:]...)
		next.writer.count = 1
		e.writer.buf, e.writer.count = e.writer.buf[:entryHeadroom+start], e.writer.count-1
		q.entries = append(q.entries, next)
		e, start = next, 0
	}
	e.places = append(e.places, place{pending: w, at: at, end: e.writer.size(), deadlineMillis: c.DeadlineMillis})
	q.commands++
	q.bytes += size
}

// last is the entry to which the next command is added.
func (q *packing) last(now time.Time) *entry {
	if n := len(q.entries); n > 0 && q.entries[n-1].writer.count < maxEntryCommands-1 {
		return q.entries[n-1]
	}
	e := newEntry(now, newEntryBytes)
	q.entries = append(q.entries, e)
	return e
}

// pop takes the oldest entry.
func (q *packing) pop() *entry {
	e := q.entries[0]
	q.entries[0] = nil
	q.entries = q.entries[1:]
	q.commands -= len(e.places)
	q.bytes -= e.writer.size()
	return e
}

// place is where a command of a Pending is in an entry.
type place struct {
	pending        *Pending
	at             int // in the Pending
	end            int // in the entry's commands
	deadlineMillis uint64
}

func (l *place) outcome() *Outcome { return &l.pending.outcomes[l.at] }

func newEntry(begun time.Time, capacity int) *entry {
	return &entry{begun: begun, writer: newEntryWriter(capacity)}
}

// empty reports whether there is nothing to propose.
func (e *entry) empty() bool { return len(e.places) == 0 && !e.tick }

// ticked is how many ticks the entry has: all of them are one, and stand first, where it may clean up.
func (e *entry) ticked() int {
	if e.tick {
		return 1
	}
	return 0
}

// pruneLocked drops the commands that must not be proposed any more: those of callers that gave
// up or whose earlier commands were refused, and those that waited for too long or are past their
// deadline. It adds the Pendings that are over by that.
func (e *entry) pruneLocked(over []*Pending, nowMillis uint64, now time.Time) []*Pending {
	kept, size, start := e.places[:0], 0, 0
	commands := e.writer.buf[entryHeadroom:]
	for _, l := range e.places {
		end := l.end
		w := l.pending
		switch {
		case w.failed != nil:
		case now.Sub(w.since) > maxQueueAge:
			w.failed = errWaited
		case expired(l.deadlineMillis, nowMillis-min(nowMillis, 1)):
			w.failed = api.Errorf(api.CodeExpired, "not proposed: the deadline passed while it waited")
		}
		if w.failed != nil {
			over = w.settleLocked(over, l.at, Outcome{Err: w.failed})
			start = end
			continue
		}
		size += copy(commands[size:], commands[start:end])
		start, l.end = end, size
		kept = append(kept, l)
	}
	clear(e.places[len(kept):])
	e.places = kept
	e.writer.buf, e.writer.count = e.writer.buf[:entryHeadroom+size], len(kept)
	return over
}

// failLocked gives every caller of the entry an error. What they have queued behind it must not
// be executed either.
func (e *entry) failLocked(over []*Pending, err error) []*Pending {
	for i := range e.places {
		l := &e.places[i]
		l.pending.breakLocked(err)
		over = l.pending.settleLocked(over, l.at, Outcome{Err: err})
	}
	for _, w := range e.ticks {
		over = w.settleLocked(over, 0, Outcome{Err: err})
	}
	return over
}

// answerLocked gives every caller its own answer.
func (e *entry) answerLocked(over []*Pending, applied *Applied) []*Pending {
	ticks := e.ticked()
	for i := range e.places {
		l, n := &e.places[i], i+ticks
		o := Outcome{Result: applied.Answers[n].Result}
		if refusal := applied.Answers[n].Err; refusal != nil {
			o.Err = refusal
			if api.Row(refusal.Code).Retry {
				l.pending.breakLocked(refusal)
			}
		}
		if applied.First != 0 && applied.Answers[n].Err != ErrOutOfOrder {
			o.version = applied.First + api.Version(n)
		}
		over = l.pending.settleLocked(over, l.at, o)
	}
	for _, w := range e.ticks {
		var o Outcome
		if refusal := applied.Answers[0].Err; refusal != nil {
			o.Err = refusal
		}
		over = w.settleLocked(over, 0, o)
	}
	return over
}
