package wal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Mode says what Commit waits for.
type Mode uint8

// The modes.
const (
	// Always waits until the batch is synced.
	Always Mode = iota
	// Interval waits for nothing: records gather in memory until Sync, or until they are many.
	Interval
	// Never waits until the batch is written: it outlives the process, and perhaps the machine.
	Never
)

// Options are the settings of a Log. All of them are needed.
type Options struct {
	FS      vfs.FS
	Dir     string
	Entropy entropy.Source
	Mode    Mode
	// SegmentBytes is where a segment ends, unless one batch is longer.
	SegmentBytes int64
	// Done is called, in the order of the batches and by one goroutine at a time, with the state of the last batch for
	// which Commit need not wait any more; synced tells whether a crash cannot take it back.
	Done func(state any, synced bool)
}

// ErrFull is what Reserve returns when the disk has no room for a batch. Nothing has been written that counts, so the
// log goes on when there is room.
var ErrFull = errors.New("no room for the log")

// ErrClosed is returned by what comes after Close.
var ErrClosed = errors.New("log is closed")

const (
	// gatherBytes is how much gathers in memory in the mode Interval before somebody writes it: a call for 64 KiB
	// costs less than a tenth of what one for each batch of 150 bytes does. It is also what a process that
	// dies loses at most, besides the interval.
	gatherBytes = 64 << 10
	// waitBytes is where writers wait for who writes.
	waitBytes = 4 << 20
	// keepBytes bounds a buffer that is kept: one that grew to waitBytes and a batch more.
	keepBytes = waitBytes * 3 / 2
)

// Log is the log of one store. Reserve and Append are for one goroutine at a time, the appender; everything
// else is safe for concurrent use.
type Log struct {
	// Set by Create, never written again.
	options Options

	// Written by the appender, or by Create.
	current *segment // also read by who leads
	end     int64    // where the next record goes
	number  uint64   // of the last segment
	waiter  Waiter   // of the appender, when it begins a segment

	// Written by the appender.
	fileNumber uint64

	// Owned by who leads.
	written int64 // where the next record goes that is not written
	durable int64 // how far the current segment is
	unsaved bool  // something is written and not synced

	counts counters
	failed atomic.Pointer[error] // the first failure; stored under mu

	// mu is a leaf. No I/O is done under it.
	mu struct {
		sync.Mutex
		buffer   []byte // records that are not written
		spare    []byte // an empty buffer
		last     uint64 // number of the last batch
		state    any    // after it
		done     uint64 // the last batch that nobody waits for any more
		leading  bool   // somebody writes, or begins a segment
		waiting  []*Waiter
		ready    []*Waiter  // an empty list
		segments []*segment // oldest first; the last is current
		free     []file
	}
}

type counters struct {
	bytes, turns, syncs, reused atomic.Uint64
}

// Metrics are figures about a log since it was opened.
type Metrics struct {
	Bytes    uint64 // of records
	Turns    uint64 // writes, each of all records that had gathered
	Syncs    uint64 // of records, seals and headers
	Reused   uint64 // files that began another life
	Segments int    // that are needed, or written to
}

// Metrics gives the figures.
func (l *Log) Metrics() Metrics {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Metrics{
		Bytes: l.counts.bytes.Load(), Turns: l.counts.turns.Load(), Syncs: l.counts.syncs.Load(),
		Reused: l.counts.reused.Load(), Segments: len(l.mu.segments),
	}
}

// Create begins a log behind what was replayed. The batches before next are in tables. The files of r are not used before
// Release says that they are free.
func Create(o Options, r *Replayed, next uint64) (*Log, error) {
	l := &Log{options: o, number: r.number, fileNumber: r.fileNumber}
	l.mu.last, l.mu.done = next-1, next-1
	s, err := l.newSegment(next)
	if err != nil {
		return nil, errors.Join(err, l.Close(false))
	}
	l.use(s)
	return l, nil
}

// use makes a segment the one that is written to.
func (l *Log) use(s *segment) {
	l.current, l.end = s, dataStart
	l.written, l.durable = dataStart, dataStart
	l.mu.Lock()
	l.mu.segments = append(l.mu.segments, s)
	l.mu.Unlock()
}

// Reserve makes sure that the log has room for a batch, so that Append cannot fail. It begins a new segment when
// the batch does not fit into this one. After ErrFull the batch is refused and the log is as it was. There is always room for some
// batches of deletes behind the others, as they are what may make room.
func (l *Log) Reserve(b *Batch) error {
	if err := l.Failed(); err != nil {
		return err
	}
	need := recordBytes(b.maxBytes())
	if !b.Deletes {
		need += l.kept()
	}
	if l.end+need+sealBytes > l.options.SegmentBytes && l.end > dataStart {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	// Others write and sync records of this file meanwhile, elsewhere.
	return l.refuse(l.current.fill(l.end+need+sealBytes, l.options.SegmentBytes))
}

// kept is how much of a segment is for batches of deletes alone: some hundreds of them.
func (l *Log) kept() int64 { return min(64<<10, l.options.SegmentBytes/8) }

// refuse makes an error of the appender ErrFull, if the disk is full, or the failure of the log.
func (l *Log) refuse(err error) error {
	switch {
	case err == nil:
		return nil
	case vfs.NoRoom(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return l.fail(err)
}

// Append adds a batch that Reserve was called for, and the state after it. Commit says when it is there. The result is how many
// bytes it takes.
func (l *Log) Append(b *Batch, state any) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	start := len(l.mu.buffer)
	buffer := appendHeader(l.mu.buffer, kindBatch, b.Number)
	buffer = finish(b.appendTo(buffer), start)
	l.end += int64(len(buffer) - start)
	l.mu.buffer, l.mu.last, l.mu.state = buffer, b.Number, state
	l.current.last = b.Number
	l.counts.bytes.Add(uint64(len(buffer) - start))
	return len(buffer) - start
}

// rotate ends the segment and begins the next one, as who leads:
//
//  1. what was appended is written and, except in the mode Never, synced;
//  2. a free file, or a new one, gets a header, which is durable, and the room that is kept for deletes;
//  3. the seal, which names the new segment, is written and, except in the mode Never, synced.
//
// After a crash before 3 nobody looks for the new segment. A full disk stops it at 2, with nothing changed.
func (l *Log) rotate() error {
	if leads, err := l.await(everything, &l.waiter); !leads {
		return err
	}
	defer l.handOver()
	ordered := l.options.Mode != Never
	if err := l.turn(ordered); err != nil {
		return err
	}
	next, err := l.newSegment(l.current.last + 1)
	if err != nil {
		return l.refuse(err)
	}
	seal := finish(appendHeader(nil, kindSeal, next.number), 0)
	if err := l.write(seal, ordered); err != nil {
		return l.fail(errors.Join(err, next.handle.Close()))
	}
	l.current.end, l.current.synced = l.written, ordered
	l.use(next)
	return nil
}

// Oldest is the number of the first segment that is needed when everything up to a batch is in tables.
func (l *Log) Oldest(batch uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.mu.segments {
		if s.last > batch {
			return s.number
		}
	}
	return l.mu.segments[len(l.mu.segments)-1].number
}

// Next is above the numbers of all segments.
func (l *Log) Next() uint64 { return l.number + 1 }

// Release gives the segments before oldest free. A durable manifest must say that they are not needed (WL5). What
// cannot be removed is reported and left to the next Replay.
func (l *Log) Release(oldest uint64) error {
	var w Waiter
	// Nobody may be syncing a file that is closed here.
	if leads, err := l.await(everything, &w); !leads {
		return err
	}
	l.mu.Lock()
	n := 0
	for n < len(l.mu.segments)-1 && l.mu.segments[n].number < oldest {
		n++
	}
	gone := l.mu.segments[:n:n]
	l.mu.segments = l.mu.segments[n:]
	var drop []file
	for _, s := range gone {
		if len(l.mu.free) < maxFree && s.filled <= l.options.SegmentBytes {
			l.mu.free = append(l.mu.free, s.file)
		} else {
			drop = append(drop, s.file)
		}
	}
	l.mu.Unlock()
	l.handOver()
	var failed error
	for _, f := range drop {
		// The name is not synced away: a file that comes back is older than the manifest's.
		failed = errors.Join(failed, f.handle.Close(), l.options.FS.Remove(l.path(f.name)))
	}
	return failed
}

// takeFree takes a file that may be used again.
func (l *Log) takeFree() (file, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mu.free) == 0 {
		return file{}, false
	}
	f := l.mu.free[0]
	l.mu.free = append(l.mu.free[:0], l.mu.free[1:]...)
	l.counts.reused.Add(1)
	return f, true
}

// Close closes the files, and removes them if a durable manifest says that none is needed. Nobody may append
// any more; who waits is served before.
func (l *Log) Close(remove bool) error {
	var w Waiter
	if leads, _ := l.await(everything, &w); leads {
		defer l.handOver()
	}
	l.mu.Lock()
	files := l.mu.free
	for _, s := range l.mu.segments {
		files = append(files, s.file)
	}
	l.mu.free, l.mu.segments = nil, nil
	if remove {
		l.mu.done = l.mu.last
	}
	closed := ErrClosed
	l.failed.CompareAndSwap(nil, &closed)
	l.mu.Unlock()
	var failed error
	for _, f := range files {
		failed = errors.Join(failed, f.handle.Close())
		if remove {
			failed = errors.Join(failed, l.options.FS.Remove(l.path(f.name)))
		}
	}
	return failed
}
