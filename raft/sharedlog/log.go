package sharedlog

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Options configures a Log. Dir, FS and Entropy are required.
type Options struct {
	// Dir is the directory of the segments, the log's alone. It is made if missing.
	Dir string
	FS  vfs.FS
	// Entropy draws the ids of segments.
	Entropy entropy.Source
	// SegmentBytes is the size of a segment file, within 8 KiB and 1 GiB, and bounds an entry.
	// Default 64 MiB: a rotation costs three syncs, and the largest entry is an eighth of it.
	SegmentBytes int64
	// CacheBytes bounds the newest entries of all groups that are kept in memory, so that
	// replication and apply do not read what was just written. Default 32 MiB.
	CacheBytes int
	// MaxBytes is how large the segments in use may grow together before OnFull is called, at
	// least four segments. Default 512 MiB.
	MaxBytes int64
	// OnFull is called when Pinned has something to say. It must not block, and must not call
	// the log. Optional.
	OnFull func()
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = max(512<<20, 4*o.SegmentBytes)
	}
	if o.OnFull == nil {
		o.OnFull = func() {}
	}
	return o
}

// Validate reports every problem of options whose defaults are filled in.
func (o Options) Validate() error {
	var problems []error
	if o.Dir == "" || o.FS == nil {
		problems = append(problems, errors.New("shared log: no directory or no file system"))
	}
	if o.SegmentBytes < 8<<10 || o.SegmentBytes > maxPayloadBytes {
		problems = append(problems, fmt.Errorf("shared log: segments of %d bytes are not within 8 KiB and 1 GiB", o.SegmentBytes))
	}
	if o.MaxBytes < 4*o.SegmentBytes {
		problems = append(problems, fmt.Errorf("shared log: a limit of %d bytes is below four segments of %d", o.MaxBytes, o.SegmentBytes))
	}
	return errors.Join(problems...)
}

// Log is the log that the replicas of a node share. Safe for concurrent use.
type Log struct {
	// Set by Open, never written again.
	opts Options
	wake chan struct{} // capacity 1: something is queued, or the log is closing
	done chan struct{} // the writer has ended

	// Owned by the writer after Open.
	free       []segmentFile
	fileNumber int    // the highest in use
	oldest     uint32 // the first segment that is needed, as far as the disk knows

	// segments are those in use, ascending; the last is written to. A leaf. Written by the writer
	// only, which needs the lock only to write.
	segments struct {
		sync.RWMutex
		list []*segment
	}

	// mu is a leaf.
	mu struct {
		sync.Mutex
		queue []*request
		spare []*request // to be used again
		// earlyBytes are those of the requests that nobody waits for.
		earlyBytes int
		closing    bool
		failed     error // the first failed write
		groups     map[key]*group
		dropped    map[uint64]droppedReplica // by group: the highest
	}

	pin      atomic.Pointer[Pin]
	live     atomic.Int64 // bytes of records that somebody needs
	unused   atomic.Int64 // files that wait for reuse
	written  written
	closeErr error // set before done is closed
}

// droppedReplica remembers that an incarnation must not come back.
type droppedReplica struct {
	incarnation uint64
	at          location
}

// Open opens the log, which must not be open elsewhere, and repeats what it holds. Damage that
// cannot be attributed to a replica is a *DamageError; other damage is an error of View.
func Open(o Options) (*Log, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	l := &Log{opts: o, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.mu.groups = make(map[key]*group)
	l.mu.dropped = make(map[uint64]droppedReplica)
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("open shared log: %w", err)
	}
	if err := l.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open shared log: %w", err), l.closeFiles())
	}
	w := newWriter(l)
	go w.loop()
	return l, nil
}

// Drop forgets a replica for good: View refuses it, and every older one of its group, from then
// on. Its view must be closed.
func (l *Log) Drop(groupID, incarnation uint64) error {
	k := key{groupID, incarnation}
	l.mu.Lock()
	g := l.mu.groups[k]
	l.mu.Unlock()
	if g == nil {
		g = newGroup(k)
	}
	g.mu.RLock()
	open := g.open
	g.mu.RUnlock()
	if open {
		return fmt.Errorf("drop raft log %s: it is open", k)
	}
	return l.do(request{op: opDrop, group: g})
}

// Dropped reports whether a replica was dropped, or a newer one of its group: View refuses it for good.
func (l *Log) Dropped(groupID, incarnation uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.mu.dropped[groupID]
	return ok && incarnation <= d.incarnation
}

// Pin says what keeps the log above its limit: the entries of a replica up to Through are in
// segments that have to go, and of the oldest of these it has more than others.
type Pin struct {
	Group, Incarnation uint64
	Through            uint64
	Bytes              int64 // of this replica in the oldest segment
}

// Pinned reports which replica should make its state durable and cut its log first; false while
// the log is within its limit.
func (l *Log) Pinned() (Pin, bool) {
	p := l.pin.Load()
	if p == nil {
		return Pin{}, false
	}
	return *p, true
}

// Size is the bytes of the segments in use, as if they were full.
func (l *Log) Size() int64 {
	l.segments.RLock()
	defer l.segments.RUnlock()
	return int64(len(l.segments.list)) * l.opts.SegmentBytes
}

// Excess is by how many bytes the segments in use are above the limit, negative below it.
func (l *Log) Excess() int64 { return l.Size() - l.opts.MaxBytes }

// Usage is what the log holds.
type Usage struct {
	Segments  int64 // in use
	Free      int64 // files that wait for reuse
	Bytes     int64 // of both, as if they were full
	LiveBytes int64 // of the records that somebody needs
	Written   Written
}

// Usage reports what the log holds. What of Bytes is not live lies between records that are, or waits for reuse.
func (l *Log) Usage() Usage {
	size := l.Size()
	u := Usage{Segments: size / l.opts.SegmentBytes, Free: l.unused.Load(), LiveBytes: l.live.Load(), Written: l.written.load()}
	u.Bytes = size + u.Free*l.opts.SegmentBytes
	return u
}

// Close writes what is queued and marks the end, so that the next Open can tell damage of the
// last records from a crash. Views that are open fail from then on. A second call waits for the
// first.
func (l *Log) Close() error {
	l.mu.Lock()
	l.mu.closing = true
	l.mu.Unlock()
	l.wakeWriter()
	<-l.done
	return l.closeErr
}

func (l *Log) wakeWriter() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Log) closeFiles() error {
	var errs []error
	for _, s := range l.segments.list {
		errs = append(errs, s.file.Close())
	}
	for _, f := range l.free {
		errs = append(errs, f.file.Close())
	}
	return errors.Join(errs...)
}

// operation is what a request asks for.
type operation uint8

const (
	opStore operation = iota
	opDelete
	opSet
	opCreate
	opDrop
	opWait // writes nothing: what was queued before it is durable when it is done
)

// request is one write. Somebody waits for it, unless it is early.
type request struct {
	op         operation
	group      *group
	entries    []*hraft.Log // opStore
	start, end uint64       // opDelete
	key        string       // opSet
	value      []byte
	early      int // its bytes, if nobody waits for it

	// Owned by the writer until done.
	nothing bool       // there is nothing to write for it
	keep    span       // of what is held, before entries are added
	at      []location // of what was written
	err     error
	done    chan struct{} // capacity 1
}

// do has the writer do r and waits for it.
func (l *Log) do(r request) error {
	l.mu.Lock()
	if err := l.unwellLocked(); err != nil {
		l.mu.Unlock()
		return err
	}
	q, first := l.queueLocked(r)
	l.mu.Unlock()
	if first {
		l.wakeWriter()
	}
	<-q.done
	err := q.err
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recycleLocked(q)
	return err
}

// queueLocked queues r; first says that nothing else was queued.
func (l *Log) queueLocked(r request) (q *request, first bool) {
	if n := len(l.mu.spare); n > 0 {
		q, l.mu.spare = l.mu.spare[n-1], l.mu.spare[:n-1]
	} else {
		q = &request{done: make(chan struct{}, 1)}
	}
	r.done, r.at = q.done, q.at[:0]
	*q = r
	l.mu.queue = append(l.mu.queue, q)
	return q, len(l.mu.queue) == 1
}

// recycleLocked keeps a request that is done for another.
func (l *Log) recycleLocked(q *request) {
	*q = request{done: q.done, at: q.at[:0]}
	if len(l.mu.spare) < maxSpare {
		l.mu.spare = append(l.mu.spare, q)
	}
}

// maxSpare bounds the requests kept for reuse: as many as groups write at once on a busy node.
const maxSpare = 256

// unwellLocked is why nothing can be written any more.
func (l *Log) unwellLocked() error {
	if l.mu.failed != nil {
		return l.mu.failed
	}
	if l.mu.closing {
		return errClosed
	}
	return nil
}
