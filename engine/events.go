package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/internal/clock"
)

// EventKind says what happened.
type EventKind uint8

// The kinds of events, with the fields of Event that they set beside Kind.
const (
	// EventFlushBegin is the start of writing a memtable: InputBytes is what it holds.
	EventFlushBegin EventKind = iota + 1
	// EventFlushEnd is its end: Bytes written, Duration, Err.
	EventFlushEnd
	// EventCompactionBegin is the start of a merge: Level of the inputs, Output level, Tables and InputBytes read.
	EventCompactionBegin
	// EventCompactionEnd is its end: the same, and Bytes written, Duration, Err.
	EventCompactionEnd
	// EventStallBegin says that a writer waits for the disk.
	EventStallBegin
	// EventStallEnd says that it goes on: Duration, Err.
	EventStallEnd
	// EventTableCreated is a new file: Table, Bytes.
	EventTableCreated
	// EventTableDeleted is a file that is gone: Table, Bytes.
	EventTableDeleted
	// EventFailure says that the store refuses writes from now on: Err is a FailedError. It comes once.
	EventFailure
	// EventScrubFinding is damage that a scrub has found: Err is a CorruptionError, which names file and offset.
	EventScrubFinding
)

// String names a kind as a log or a metric does.
func (k EventKind) String() string {
	names := [...]string{"unknown", "flush_begin", "flush_end", "compaction_begin", "compaction_end", "stall_begin",
		"stall_end", "table_created", "table_deleted", "failure", "scrub_finding"}
	if int(k) >= len(names) {
		k = 0
	}
	return names[k]
}

// Event is something that a store did or met. Which fields are set is said at the kinds; it never has keys or values.
type Event struct {
	Kind       EventKind
	Level      int
	Output     int
	Tables     int
	Table      uint64 // number of a file
	InputBytes uint64
	Bytes      uint64
	Duration   time.Duration
	Err        error
}

// eventCount is how many events may wait for Options.Events. A flush has four, a compaction some dozens, so this is minutes
// of a busy store; more would only be older.
const eventCount = 1024

// events hands events to a listener on a goroutine of its own, so that one that is slow costs nobody anything but events.
type events struct {
	listen  func(Event) // nil when nobody listens
	queue   chan Event
	stop    chan struct{}
	ended   sync.WaitGroup
	dropped atomic.Uint64
}

// start begins to hand out, if somebody listens.
func (e *events) start(listen func(Event)) {
	if listen == nil {
		return
	}
	e.listen, e.queue, e.stop = listen, make(chan Event, eventCount), make(chan struct{})
	e.ended.Go(e.eventLoop)
}

func (e *events) eventLoop() {
	for {
		select {
		case event := <-e.queue:
			e.listen(event)
		case <-e.stop:
			for {
				select {
				case event := <-e.queue:
					e.listen(event)
				default:
					return
				}
			}
		}
	}
}

// emit never waits: an event for which there is no room is counted and gone.
func (e *events) emit(event Event) {
	if e.listen == nil {
		return
	}
	select {
	case e.queue <- event:
	default:
		e.dropped.Add(1)
	}
}

// end hands out what waits, and stops.
func (e *events) end() {
	if e.listen != nil {
		close(e.stop)
		e.ended.Wait()
	}
}

// elapsed measures durations, which only metrics and events show: nothing that the store does depends on them.
func elapsed() func() time.Duration {
	start := clock.Real{}.Now()
	return func() time.Duration { return clock.Real{}.Now().Sub(start) }
}

// awaitDisk is await for a writer: what it waits is a stall.
func (db *DB) awaitDisk(ready func() bool) error {
	took := elapsed()
	db.counts.stalls.Add(1)
	db.events.emit(Event{Kind: EventStallBegin})
	err := db.await(context.Background(), ready)
	d := took()
	db.counts.stalled.Add(int64(d))
	db.events.emit(Event{Kind: EventStallEnd, Duration: d, Err: err})
	return err
}

// flushBegins tells that a memtable is written; the result is called at the end.
func (db *DB) flushBegins(memoryBytes int) (ended func(written uint64, err error)) {
	took := elapsed()
	event := Event{Kind: EventFlushBegin, InputBytes: uint64(memoryBytes)}
	db.events.emit(event)
	return func(written uint64, err error) {
		event.Kind, event.Bytes, event.Duration, event.Err = EventFlushEnd, written, took(), err
		db.events.emit(event)
	}
}

// mergeBegins tells that tables are merged; the result is called at the end.
func (db *DB) mergeBegins(p *levels.Pick, inputs []*levels.Table) (ended func(written uint64, err error)) {
	took := elapsed()
	event := Event{
		Kind: EventCompactionBegin, Level: p.Level, Output: p.Output, Tables: len(inputs), InputBytes: totalBytes(inputs),
	}
	db.events.emit(event)
	return func(written uint64, err error) {
		event.Kind, event.Bytes, event.Duration, event.Err = EventCompactionEnd, written, took(), err
		db.events.emit(event)
	}
}
