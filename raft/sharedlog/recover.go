package sharedlog

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// recover opens the files, repeats the segments in order, and begins a new segment: nothing is
// ever written behind a torn end, where records of the same segment may follow that were never
// acknowledged.
func (l *Log) recover() error {
	found, err := l.openFiles()
	if err != nil {
		return err
	}
	if len(found) == 0 {
		if len(l.free) > 0 {
			return &DamageError{File: l.opts.Dir, Reason: "no segment has a valid header", Expected: "one of " + fmt.Sprint(len(l.free)), Found: "none"}
		}
		return l.begin(1)
	}
	scans := make([]scan, len(found))
	r := newReplay()
	for i, s := range found {
		if scans[i], err = l.scanSegment(s, r); err != nil {
			return err
		}
	}
	chain, rest, err := l.follow(found, scans, r)
	if err != nil {
		return err
	}
	return l.resume(chain, rest, found[len(found)-1].sequence+1, r)
}

// openFiles opens every segment file: those with a valid header are found, the others are free,
// if the rest of the log agrees. What was being made goes away.
func (l *Log) openFiles() (found []*segment, err error) {
	names, err := l.opts.FS.List(l.opts.Dir)
	if err != nil {
		return nil, err
	}
	// What was found is closed with the rest if this fails.
	for _, name := range names {
		number, ok := segmentNumber(name)
		if !ok {
			if strings.HasSuffix(name, segmentSuffix+temporarySuffix) {
				if err := l.opts.FS.Remove(l.path(name)); err != nil {
					return found, err
				}
			}
			continue
		}
		l.fileNumber = max(l.fileNumber, number)
		s, err := l.openFile(name)
		if err != nil {
			return found, err
		}
		if s != nil {
			l.segments.list = append(l.segments.list, s)
		}
	}
	found = l.segments.list
	slices.SortFunc(found, func(a, b *segment) int { return int(int64(a.sequence) - int64(b.sequence)) })
	for i := 1; i < len(found); i++ {
		if found[i].sequence == found[i-1].sequence {
			return found, &DamageError{File: found[i].name, Reason: "sequence", Expected: "another than that of " + found[i-1].name, Found: fmt.Sprint(found[i].sequence)}
		}
	}
	return found, nil
}

// openFile opens one file; nil if it has no valid header: it is free then.
func (l *Log) openFile(name string) (*segment, error) {
	f, err := l.opts.FS.Update(l.path(name))
	if err != nil {
		return nil, err
	}
	file := segmentFile{name: name, file: f}
	b := make([]byte, segmentHeaderBytes)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	if file.size, err = f.Size(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	sequence, id, err := decodeSegmentHeader(b[:n])
	if errors.Is(err, errSegmentHeader) {
		l.free = append(l.free, file)
		return nil, nil
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return &segment{sequence: sequence, identity: id, segmentFile: file}, nil
}

// scan is what one segment turned out to be.
type scan struct {
	used      bool   // it has records
	sealed    bool   // and a seal, which names the next
	next      uint32 // sequence
	nextID    uint64
	end       int64 // behind the last record, or at the seal
	lastBatch []byte
	damage    error // that concerns the whole segment
}

// scanSegment reads a segment and repeats its records.
//
// A record that is not valid ends the segment, if nothing proves that what it belonged to was
// synced: then it is torn, and was never acknowledged. The proof is a valid record, anywhere
// behind it, of a batch that started behind it, because a batch is written only after the one
// before was synced. Then it is damage.
func (l *Log) scanSegment(s *segment, r *replay) (scan, error) {
	b := make([]byte, s.size)
	if n, err := s.file.ReadAt(b, 0); err != nil && (!errors.Is(err, io.EOF) || n < len(b)) {
		return scan{}, fmt.Errorf("read %s: %w", s.name, err)
	}
	headers, offsets, proven := s.walk(b)
	c := scan{used: proven > 0 || len(headers) > 0, end: dataStart}
	batch := c.end
	for i := range headers {
		h, offset := &headers[i], offsets[i]
		h.payload = b[offset+headerBytes:][:h.length]
		problem := s.checkPayload(offset, h)
		if problem != nil && offset >= proven {
			break
		}
		if h.kind == kindSeal {
			c.sealed, c.next, c.nextID = true, uint32(h.index), h.term
			return c, nil
		}
		if c.damage = r.record(s, offset, h, problem); c.damage != nil {
			return c, nil
		}
		c.end, batch = offset+recordBytes(int(h.length)), h.batch
	}
	c.lastBatch = slices.Clone(b[batch:c.end])
	if c.end < proven {
		c.damage = &DamageError{File: s.name, Offset: c.end, Reason: "record header",
			Expected: fmt.Sprintf("a record: one behind it, of a batch that starts at %d, is valid", proven), Found: "none"}
	}
	return c, nil
}

// walk finds the records of a segment from the start to the first place where there is none, and
// how far what is valid behind that place proves that the segment was synced.
func (s *segment) walk(b []byte) (headers []header, offsets []int64, proven int64) {
	limit := int64(len(b))
	offset := int64(dataStart)
	for offset+headerBytes <= limit {
		h, ok := s.decodeHeader(b[offset:], offset, limit)
		if !ok {
			break
		}
		headers, offsets = append(headers, h), append(offsets, offset)
		proven = max(proven, h.batch)
		if h.kind == kindSeal {
			return headers, offsets, proven
		}
		offset += recordBytes(int(h.length))
	}
	for ; offset+headerBytes <= limit; offset += alignment {
		if h, ok := s.decodeHeader(b[offset:], offset, limit); ok {
			proven = max(proven, h.batch)
		}
	}
	return headers, offsets, proven
}

// follow goes from the oldest segment that is needed from seal to seal. What is not on the way
// must be older, or empty.
func (l *Log) follow(found []*segment, scans []scan, r *replay) (chain []*segment, rest []*segment, err error) {
	at := func(sequence uint32) int {
		return slices.IndexFunc(found, func(s *segment) bool { return s.sequence == sequence })
	}
	l.oldest = max(r.oldest, 1)
	missing := func(sequence uint32, named string) error {
		return &DamageError{File: l.opts.Dir, Reason: "segment " + named, Expected: fmt.Sprintf("sequence %d", sequence), Found: "none with a valid header"}
	}
	i := at(l.oldest)
	if i < 0 {
		return nil, nil, missing(l.oldest, "that is the oldest")
	}
	visited := make(map[*segment]bool)
	for {
		s, c := found[i], &scans[i]
		if c.damage != nil {
			return nil, nil, c.damage
		}
		visited[s] = true
		s.end = c.end
		chain = append(chain, s)
		if !c.sealed {
			break
		}
		if i = at(c.next); i < 0 || found[i].id != c.nextID || visited[found[i]] {
			return nil, nil, missing(c.next, "that "+s.name+" goes on in")
		}
	}
	for i, s := range found {
		switch {
		case visited[s]:
		case s.sequence >= l.oldest && scans[i].used:
			last := chain[len(chain)-1]
			return nil, nil, &DamageError{File: last.name, Offset: last.end, Reason: "seal",
				Expected: "one: " + s.name + ", which is newer, has records", Found: "none"}
		default:
			rest = append(rest, s)
		}
	}
	// An empty segment at the end was begun and not used: it is not continued either, because its
	// seal may still have to be written again.
	if n := len(chain) - 1; n > 0 && !scans[at(chain[n].sequence)].used {
		chain, rest = chain[:n], append(rest, chain[n])
	}
	r.tail = scans[at(chain[len(chain)-1].sequence)]
	return chain, rest, nil
}

// begin makes the first segment.
func (l *Log) begin(sequence uint32) error {
	s, err := l.newSegment(sequence)
	if err != nil {
		return err
	}
	l.oldest = sequence
	l.segments.list = []*segment{s}
	return nil
}

// resume takes over what was repeated and begins a new segment behind it.
func (l *Log) resume(chain, rest []*segment, sequence uint32, r *replay) error {
	l.segments.list = append(slices.Clone(chain), rest...) // closed together if this fails
	next, err := l.newSegment(sequence)
	if err != nil {
		return err
	}
	l.segments.list = append(l.segments.list, next)
	if err := l.sealTail(chain[len(chain)-1], &r.tail, next); err != nil {
		return err
	}
	l.segments.list = append(slices.Clone(chain), next)
	for _, s := range rest {
		if err := l.release(s.segmentFile); err != nil {
			return err
		}
	}
	r.finish(l)
	return nil
}

// sealTail writes the last batch again and makes it durable before anything is built on it: a
// process that died may have left it in the memory of the system only, even after a failed sync
// (D3). The seal follows as a batch of its own, because it proves that all before it is durable.
func (l *Log) sealTail(s *segment, tail *scan, next *segment) error {
	if !tail.sealed && len(tail.lastBatch) > 0 {
		if _, err := s.file.WriteAt(tail.lastBatch, s.end-int64(len(tail.lastBatch))); err != nil {
			return err
		}
		if err := s.file.SyncData(); err != nil {
			return err
		}
	}
	b := s.appendRecord(nil, s.end, s.end, sealTo(next))
	if err := l.fill(s, s.end+int64(len(b))); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(b, s.end); err != nil {
		return err
	}
	l.written.wrote(&l.written.records, s.end, int64(len(b)))
	defer l.written.synced()
	return s.file.SyncData()
}
