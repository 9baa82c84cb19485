package wal

import (
	"fmt"

	"github.com/lightning-db/lightning/internal/seededbug"
)

// everything is the number of a batch that is never done: who waits for it gets to lead.
const everything = ^uint64(0)

// Waiter is a place to wait for a batch. It is for one goroutine at a time, and may be used again.
type Waiter struct {
	number uint64
	wake   chan bool // true: lead
	err    error
}

// Commit waits until a batch is what the mode promises: with Always durable, with Never written. The first who waits
// does the work for all whose batches are there, while the next ones gather.
func (l *Log) Commit(number uint64, w *Waiter) error {
	if l.options.Mode == Interval && l.mayGather() {
		return nil
	}
	leads, err := l.await(number, w)
	if !leads {
		return err
	}
	defer l.handOver()
	return l.turn(l.options.Mode == Always)
}

// mayGather tells whether writers need not care for what has gathered.
func (l *Log) mayGather() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.mu.buffer)
	return l.Failed() == nil && (n < gatherBytes || l.mu.leading && n < waitBytes)
}

// Sync makes all that was appended durable, in every mode.
func (l *Log) Sync() error {
	var w Waiter
	leads, err := l.await(everything, &w)
	if !leads {
		return err
	}
	defer l.handOver()
	return l.turn(true)
}

// await waits until a batch is done, the log has failed, or the caller has to lead: then it must call handOver.
func (l *Log) await(number uint64, w *Waiter) (leads bool, err error) {
	l.mu.Lock()
	failed := l.Failed()
	switch {
	case l.mu.done >= number:
		l.mu.Unlock()
		return false, nil
	case failed != nil:
		l.mu.Unlock()
		return false, failed
	case !l.mu.leading:
		l.mu.leading = true
		l.mu.Unlock()
		return true, nil
	}
	if w.wake == nil {
		w.wake = make(chan bool, 1)
	}
	w.number, w.err = number, nil
	l.mu.waiting = append(l.mu.waiting, w)
	l.mu.Unlock()
	leads = <-w.wake
	return leads, w.err
}

// handOver lets the first who still waits lead, and then wakes those whose batches are done. In this order
// the disk has work while they are woken.
func (l *Log) handOver() {
	l.mu.Lock()
	ready, rest := l.mu.ready[:0], l.mu.waiting[:0]
	l.mu.ready = nil
	var next *Waiter
	failed := l.Failed()
	for _, w := range l.mu.waiting {
		switch {
		case failed != nil && w.number > l.mu.done:
			w.err = failed
			ready = append(ready, w)
		case w.number <= l.mu.done:
			ready = append(ready, w)
		case next == nil:
			next = w
		default:
			rest = append(rest, w)
		}
	}
	clear(l.mu.waiting[len(rest):])
	l.mu.waiting, l.mu.leading = rest, next != nil
	l.mu.Unlock()
	if next != nil {
		next.wake <- true
	}
	for _, w := range ready {
		w.wake <- false
	}
	clear(ready)
	l.mu.Lock()
	l.mu.ready = ready[:0]
	l.mu.Unlock()
}

// turn writes what has gathered and, if it shall, syncs all that was ever written. Only who leads calls it.
func (l *Log) turn(sync bool) error {
	l.mu.Lock()
	buffer, last, state := l.mu.buffer, l.mu.last, l.mu.state
	if failed := l.Failed(); failed != nil {
		l.mu.Unlock()
		return failed
	}
	l.mu.buffer, l.mu.spare = l.mu.spare, nil
	l.mu.Unlock()
	err := l.write(buffer, sync)
	if err == nil && sync {
		err = l.syncOlder()
	}
	if err != nil {
		return l.fail(err)
	}
	if state != nil {
		l.options.Done(state, sync)
	}
	l.mu.Lock()
	l.mu.done = last
	if cap(buffer) <= keepBytes {
		l.mu.spare = buffer[:0]
	}
	l.mu.Unlock()
	return nil
}

// write puts records behind what is written, and syncs the segment if it shall.
func (l *Log) write(records []byte, sync bool) error {
	s := l.current
	if len(records) > 0 {
		s.id.stamp(records, l.written, l.durable)
		l.unsaved = true
		if _, err := s.handle.WriteAt(records, l.written); err != nil {
			return fmt.Errorf("write %s: %w", s.name, err)
		}
		l.written += int64(len(records))
		l.counts.turns.Add(1)
	}
	if !sync || !l.unsaved {
		return nil
	}
	if !seededbug.Enabled(seededbug.EngineLogSkipSync) {
		if err := s.handle.SyncData(); err != nil {
			return fmt.Errorf("sync %s: %w", s.name, err)
		}
	}
	l.counts.syncs.Add(1)
	l.unsaved, l.durable = false, l.written
	return nil
}

// syncOlder syncs the segments that the mode Never has left unsynced.
func (l *Log) syncOlder() error {
	if l.options.Mode != Never {
		return nil
	}
	l.mu.Lock()
	older := l.mu.segments[:len(l.mu.segments)-1]
	l.mu.Unlock()
	for _, s := range older { // the list grows at its end, and shrinks, only by who leads
		if s.synced {
			continue
		}
		if err := s.handle.SyncData(); err != nil {
			return fmt.Errorf("sync %s: %w", s.name, err)
		}
		l.counts.syncs.Add(1)
		s.synced = true
	}
	return nil
}

// fail makes the first failure the answer to everything that is not done (WL4).
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed.CompareAndSwap(nil, &err)
	return l.Failed()
}

// Failed is the first failure, or nil.
func (l *Log) Failed() error {
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}
