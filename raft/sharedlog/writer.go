package sharedlog

import (
	"errors"
	"fmt"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/seededbug"
)

// writer is the one goroutine that writes. It owns everything here.
type writer struct {
	log     *Log
	segment *segment // the one that is written to
	buf     []byte   // records that follow segment.end
	batch   int64    // where the batch starts in segment
	dirty   bool     // something written is not synced
	payload []byte   // for stable values

	cache   tailCache
	carry   carrier
	checked uint32 // the segment that was written to when checkLimit looked last
}

// writeBytes bounds what is gathered before it is written; the sync still comes once at the end.
const writeBytes = 1 << 20

// keepBytes bounds the buffer that is kept between batches.
const keepBytes = 4 << 20

func newWriter(l *Log) *writer {
	l.unused.Store(int64(len(l.free)))
	return &writer{log: l, segment: l.segments.list[len(l.segments.list)-1], cache: tailCache{maxBytes: l.opts.CacheBytes}}
}

// loop writes what is queued, all of it at once, until the log is closed.
func (w *writer) loop() {
	l := w.log
	var requests []*request
	for range l.wake {
		for {
			l.mu.Lock()
			requests, l.mu.queue = l.mu.queue, requests[:0]
			closing, failed := l.mu.closing, l.mu.failed != nil
			l.mu.Unlock()
			if len(requests) > 0 || !failed && !closing && w.carry.waiting(l) {
				w.round(requests)
				clear(requests)
				continue
			}
			if closing {
				l.closeErr = errors.Join(w.end(), l.closeFiles())
				close(l.done)
				return
			}
			break
		}
	}
}

// round makes one batch of the requests: one write and one sync, if they fit in the segment.
func (w *writer) round(requests []*request) {
	err := w.encode(requests)
	if err == nil {
		err = w.commit()
	}
	if err != nil {
		err = w.fail(err)
	}
	if err == nil {
		w.carry.apply(w)
		for _, r := range requests {
			if r.err == nil {
				w.apply(r)
			}
		}
		w.checkLimit(requests)
		// The requests are durable, but somebody has to be told that nothing will be from now on.
		if failed := w.giveBack(); failed != nil {
			err = w.fail(failed)
		}
		w.log.unused.Store(int64(len(w.log.free)))
	}
	for _, r := range requests {
		if r.err == nil {
			r.err = err
		}
	}
	// Who waits for a later write knows that those who did not wait for an earlier one were told.
	w.tell(requests)
	for _, r := range requests {
		if r.early > 0 {
			w.log.endEarly(r)
		} else {
			r.done <- struct{}{}
		}
	}
}

// fail makes the first failure the error of every later write. What the disk holds is not known
// after it, so a later success would prove nothing.
func (w *writer) fail(err error) error {
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.failed == nil {
		l.mu.failed = fmt.Errorf("shared log: %w", err)
	}
	return l.mu.failed
}

func (w *writer) encode(requests []*request) error {
	w.log.mu.Lock()
	failed := w.log.mu.failed
	w.log.mu.Unlock()
	if failed != nil {
		return failed
	}
	w.batch = w.position()
	// What is carried forward is as it was before the requests, so it comes before them.
	if err := w.carry.write(w); err != nil {
		return err
	}
	for _, r := range requests {
		var err error
		switch r.op {
		case opStore:
			err = w.encodeEntries(r)
		case opDelete:
			err = w.encodeDelete(r)
		case opSet:
			w.payload = stablePayload(w.payload[:0], r.key, r.value)
			err = w.addFor(r, record{kind: kindStable, payload: w.payload})
		case opCreate:
			err = w.addFor(r, record{kind: kindCreate})
		case opDrop:
			err = w.addFor(r, record{kind: kindDrop})
		case opWait:
			r.nothing = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addFor adds a record for a request and notes where it is.
func (w *writer) addFor(r *request, rec record) error {
	rec.group, rec.incarnation = r.group.key.group, r.group.key.incarnation
	at, err := w.add(&rec)
	r.at = append(r.at, at)
	return err
}

// encodeEntries makes room as the contract of LogStore demands, in records of its own, so that
// what a record means does not depend on others.
func (w *writer) encodeEntries(r *request) error {
	if r.err = w.log.checkEntries(r.entries); r.err != nil {
		return nil
	}
	g, first := r.group, r.entries[0].Index
	r.keep = g.next
	var err error
	switch {
	case g.next.empty() || first == g.next.last+1:
	case first > g.next.last+1:
		r.keep = span{}
		_, err = w.add(w.cut(g, kindCutPrefix, g.next.last))
	default:
		r.keep = g.next.cutSuffix(first)
		_, err = w.add(w.cut(g, kindCutSuffix, first))
	}
	for _, e := range r.entries {
		if err != nil {
			return err
		}
		err = w.addFor(r, record{kind: kindEntry, entryType: uint8(e.Type), index: e.Index, term: e.Term, payload: e.Data})
	}
	g.next = span{first, r.entries[len(r.entries)-1].Index}
	if !r.keep.empty() {
		g.next.first = r.keep.first
	}
	return err
}

func (w *writer) cut(g *group, k kind, index uint64) *record {
	return &record{kind: k, group: g.key.group, incarnation: g.key.incarnation, index: index}
}

func (l *Log) checkEntries(entries []*hraft.Log) error {
	for i, e := range entries {
		switch {
		case e.Index == 0 || e.Index != entries[0].Index+uint64(i):
			return fmt.Errorf("store entries: index %d at place %d after %d", e.Index, i, entries[0].Index)
		case len(e.Extensions) != 0:
			return fmt.Errorf("entry %d carries extensions, which the log does not keep", e.Index)
		case recordBytes(len(e.Data)) > l.opts.SegmentBytes-dataStart-reservedBytes:
			return fmt.Errorf("entry %d of %d bytes does not fit in a segment of %d", e.Index, len(e.Data), l.opts.SegmentBytes)
		}
	}
	return nil
}

func (w *writer) encodeDelete(r *request) error {
	g := r.group
	have := g.next
	start, end := max(r.start, have.first), min(r.end, have.last)
	r.keep = have
	switch {
	case have.empty() || start > end:
		r.nothing = true
		return nil
	case start > have.first && end < have.last:
		r.err = fmt.Errorf("delete entries %d to %d: would leave a hole in %d to %d", start, end, have.first, have.last)
		return nil
	case start == have.first:
		r.keep = have.cutPrefix(end)
		_, err := w.add(w.cut(g, kindCutPrefix, end))
		g.next = r.keep
		return err
	default:
		r.keep = have.cutSuffix(start)
		_, err := w.add(w.cut(g, kindCutSuffix, start))
		g.next = r.keep
		return err
	}
}

// position is where the next record goes.
func (w *writer) position() int64 { return w.segment.end + int64(len(w.buf)) }

// add puts a record into the batch, in the next segment if this one is full.
func (w *writer) add(r *record) (location, error) {
	if w.position()+recordBytes(len(r.payload)) > w.log.opts.SegmentBytes-reservedBytes {
		if err := w.rotate(); err != nil {
			return location{}, err
		}
	}
	return w.put(r)
}

// put puts a record into the batch, where it fits.
func (w *writer) put(r *record) (location, error) {
	at := location{segment: w.segment.sequence, offset: uint32(w.position()), length: uint32(len(r.payload)), term: r.term}
	w.buf = w.segment.appendRecord(w.buf, w.position(), w.batch, r)
	if len(w.buf) < writeBytes {
		return at, nil
	}
	return at, w.write()
}

// write gives what is gathered to the file.
func (w *writer) write() error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.log.fill(w.segment, w.position()); err != nil {
		return err
	}
	if _, err := w.segment.file.WriteAt(w.buf, w.segment.end); err != nil {
		return err
	}
	w.log.written.wrote(&w.log.written.records, w.segment.end, int64(len(w.buf)))
	w.segment.end += int64(len(w.buf))
	w.dirty = true
	if w.buf = w.buf[:0]; cap(w.buf) > keepBytes {
		w.buf = nil
	}
	return nil
}

// commit makes the batch durable.
func (w *writer) commit() error {
	if err := w.write(); err != nil || !w.dirty {
		return err
	}
	if seededbug.Enabled(seededbug.LogAcknowledgeBeforeSync) {
		return nil
	}
	err := w.segment.file.SyncData()
	if err != nil && seededbug.Enabled(seededbug.LogRetryFailedSync) {
		err = w.segment.file.SyncData()
	}
	w.dirty = err != nil
	w.log.written.synced()
	return err
}

// zeros is what files are filled with.
var zeros [64 << 10]byte

// fill writes zeros so that the file reaches beyond end.
func (l *Log) fill(s *segment, end int64) error {
	if end <= s.size {
		return nil
	}
	size := min((end+fillBytes-1)/fillBytes*fillBytes, l.opts.SegmentBytes)
	for s.size < size {
		n, err := s.file.WriteAt(zeros[:min(size-s.size, int64(len(zeros)))], s.size)
		if err != nil {
			return err
		}
		l.written.wrote(&l.written.zeros, s.size, int64(n))
		s.size += int64(n)
	}
	return nil
}

// apply changes what readers see, after the request is durable.
func (w *writer) apply(r *request) {
	if r.nothing {
		return
	}
	g := r.group
	switch r.op {
	case opStore, opDelete:
		w.applyEntries(r)
	case opSet:
		old, had := g.stable[r.key]
		g.mu.Lock()
		g.stable[r.key] = stableValue{value: r.value, at: r.at[0]}
		g.mu.Unlock()
		if had {
			w.forget(old.at)
		}
		w.need(r.at[0])
	case opCreate:
		g.created = r.at[0]
		w.need(r.at[0])
	case opDrop:
		w.applyDrop(g, r.at[0])
	}
}

func (w *writer) applyEntries(r *request) {
	g := r.group
	g.mu.Lock()
	gone, freed := g.cutLocked(r.keep)
	taken := 0
	if len(r.entries) > 0 {
		taken = g.appendLocked(r.entries, r.at)
	}
	if r.early > 0 {
		g.settleLocked(len(r.entries))
	}
	g.mu.Unlock()
	w.forget(gone...)
	w.need(r.at...)
	w.cache.bytes += taken - freed
	if taken > 0 {
		w.cache.added(g, r.entries[len(r.entries)-1].Index)
	}
}

func (w *writer) applyDrop(g *group, at location) {
	l := w.log
	g.mu.Lock()
	gone, freed := g.cutLocked(span{})
	stable, created := g.stable, g.created
	g.stable, g.damage, g.created = make(map[string]stableValue), nil, location{}
	g.mu.Unlock()
	w.forget(g.evidence...)
	g.evidence = nil
	w.cache.bytes -= freed
	w.forget(gone...)
	for _, v := range stable {
		w.forget(v.at)
	}
	if created.segment != 0 {
		w.forget(created)
	}
	l.mu.Lock()
	delete(l.mu.groups, g.key)
	old, had := l.mu.dropped[g.key.group]
	if !had || old.incarnation <= g.key.incarnation {
		l.mu.dropped[g.key.group] = droppedReplica{g.key.incarnation, at}
	}
	l.mu.Unlock()
	switch {
	case !had:
		w.need(at)
	case old.incarnation <= g.key.incarnation:
		w.forget(old.at)
		w.need(at)
	}
}

// need and forget count what keeps a segment from being used again.
func (w *writer) need(at ...location) { w.count(1, at) }

func (w *writer) forget(at ...location) { w.count(-1, at) }

func (w *writer) count(sign int, at []location) {
	var s *segment
	for _, a := range at {
		if s == nil || s.sequence != a.segment {
			s = w.log.find(a.segment)
		}
		s.live += sign
		bytes := int64(sign) * recordBytes(int(a.length))
		s.liveBytes += bytes
		w.log.live.Add(bytes)
	}
}

// end marks a clean end, unless the log has failed.
func (w *writer) end() error {
	w.log.mu.Lock()
	failed := w.log.mu.failed
	w.log.mu.Unlock()
	if failed != nil {
		return nil // whoever waited for the write was told
	}
	w.batch = w.position()
	if _, err := w.put(&record{kind: kindEnd}); err != nil {
		return w.fail(err)
	}
	if err := w.commit(); err != nil {
		return w.fail(err)
	}
	return nil
}
