package wal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Start is where a log is replayed from, as the manifest says.
type Start struct {
	Segment uint64 // the first that is needed, if any is; all of a lower number are not
	Used    bool   // some segment is needed
	Batch   uint64 // the last that is in tables

	ReadOnly bool // files that were being made are not removed
}

// Replayed is what a replay found.
type Replayed struct {
	Batches int    // how many were given to apply
	Bytes   uint64 // of the records that were read
	Cut     *Cut   // where the log ends torn, nil if it ends whole

	number     uint64   // the highest of a segment
	fileNumber uint64   // the highest in a name
	names      []string // of all files
}

// Cut is a torn end: what is behind it was on its way to the disk when a crash came.
type Cut struct {
	File    string
	Offset  int64
	Records int // whole ones behind the place, which are dropped with it
}

// replay is one on its way.
type replay struct {
	*Replayed
	fs       vfs.FS
	dir      string
	start    Start
	apply    func(*Batch) error
	found    map[uint64]*foundSegment
	nameless string // a file without a valid header
	next     uint64 // number of the next batch
}

type foundSegment struct {
	header
	name string
}

// Replay gives apply every batch behind start, in order. One segment at a time is in memory. A batch shares
// its bytes with nobody, so apply may keep them.
//
// The segments are read from the first that is needed from seal to seal. A record that is not valid ends the log if
// nothing proves that it was durable; otherwise it is a corrupt.Error (WL3).
func Replay(fs vfs.FS, dir string, start Start, apply func(*Batch) error) (*Replayed, error) {
	r := &replay{Replayed: &Replayed{number: start.Segment}, fs: fs, dir: dir, start: start, apply: apply}
	if err := r.list(); err != nil {
		return nil, err
	}
	if !start.Used {
		return r.Replayed, nil
	}
	at, err := r.segment(start.Segment)
	if err != nil {
		return nil, err
	}
	if at.first > start.Batch+1 {
		return nil, corrupt.Shape(at.name, 0, "first batch", fmt.Sprintf("%d or less", start.Batch+1), at.first)
	}
	r.next = at.first
	for {
		end, seal, err := r.read(at)
		if err != nil {
			return nil, err
		}
		if seal == 0 {
			return r.Replayed, r.checkNewer(at, end)
		}
		last := at
		if at, err = r.segment(seal); err != nil {
			return nil, err
		}
		if at.number <= last.number || at.first != r.next {
			return nil, corrupt.Shape(at.name, 0, "first batch", r.next, at.first)
		}
	}
}

// list finds the segments, and removes files that were being made.
func (r *replay) list() error {
	names, err := r.fs.List(r.dir)
	if err != nil {
		return err
	}
	r.found = make(map[uint64]*foundSegment)
	for _, name := range names {
		if strings.HasSuffix(name, Suffix+temporarySuffix) && !r.start.ReadOnly {
			if err := r.fs.Remove(r.dir + "/" + name); err != nil {
				return fmt.Errorf("remove leftover %s: %w", name, err)
			}
		}
		number, ok := fileNumber(name)
		if !ok {
			continue
		}
		r.fileNumber = max(r.fileNumber, number)
		r.names = append(r.names, name)
		if err := r.addFile(name); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) addFile(name string) error {
	h, err := readHeader(r.fs, r.dir, name)
	if errors.Is(err, errNoHeader) {
		r.nameless = name
		return nil
	}
	if err != nil {
		return err
	}
	if other := r.found[h.number]; other != nil && h.number >= r.start.Segment {
		return corrupt.Shape(name, 16, "number of the segment", "another than that of "+other.name, h.number)
	}
	r.found[h.number] = &foundSegment{header: h, name: name}
	r.number = max(r.number, h.number)
	return nil
}

// segment finds one that must be there.
func (r *replay) segment(number uint64) (*foundSegment, error) {
	if s := r.found[number]; s != nil {
		return s, nil
	}
	name := r.nameless
	if name == "" {
		name = "*" + Suffix
	}
	return nil, corrupt.Shape(name, 0, "header", fmt.Sprintf("that of segment %d, which is needed", number), "none")
}

// read applies what a segment holds. It tells where that ends, and which segment the seal names, 0 if there is none.
func (r *replay) read(s *foundSegment) (end int64, seal uint64, err error) {
	b, err := readFile(r.fs, r.dir, s.name)
	if err != nil {
		return 0, 0, err
	}
	for end = dataStart; end < int64(len(b)); {
		rec, ok := s.id.decode(b, end)
		if !ok {
			break
		}
		if rec.kind == kindSeal {
			return end, rec.number, nil
		}
		if err := r.batch(s, &rec); err != nil {
			return 0, 0, err
		}
		end = rec.end()
	}
	return end, 0, r.judge(s, b, end)
}

// batch applies one batch, unless it is in tables.
func (r *replay) batch(s *foundSegment, rec *record) error {
	if rec.number != r.next {
		return corrupt.Shape(s.name, rec.offset, "number of the batch", r.next, rec.number)
	}
	r.next++
	r.Bytes += uint64(rec.end() - rec.offset)
	if rec.number <= r.start.Batch {
		return nil
	}
	b, ok := decodeBatch(rec.number, append([]byte(nil), rec.payload...))
	if !ok {
		return corrupt.Shape(s.name, rec.offset, "batch", "well-formed bytes", "malformed ones")
	}
	r.Batches++
	return r.apply(b)
}

// judge decides what it means that there is no record at end. Damage, if a whole record behind it was written when
// that place was durable. A torn end, if there are traces of one there or one follows. Else it is where the log just ends.
func (r *replay) judge(s *foundSegment, b []byte, end int64) error {
	if end >= int64(len(b)) {
		return nil
	}
	records := 0
	for at := end + alignment; at < int64(len(b)); at += alignment {
		rec, ok := s.id.decode(b, at)
		if !ok {
			continue
		}
		if rec.durable > end {
			return corrupt.Shape(s.name, end, "record", fmt.Sprintf("one, as that at %d tells", at), "none")
		}
		records++
	}
	if records > 0 || s.id.traces(b[end:], r.next) {
		r.Cut = &Cut{File: s.name, Offset: end, Records: records}
	}
	return nil
}

// checkNewer makes sure that the log does end where it seems to. A newer segment that has records proves that this
// one, with its seal, was durable, unless it was written in the mode Never.
func (r *replay) checkNewer(last *foundSegment, end int64) error {
	for _, s := range r.found {
		if s.number <= last.number || !s.ordered {
			continue
		}
		b, err := readFile(r.fs, r.dir, s.name)
		if err != nil {
			return err
		}
		for at := int64(dataStart); at < int64(len(b)); at += alignment {
			if _, ok := s.id.decode(b, at); ok {
				return corrupt.Shape(last.name, end, "record", "one, as "+s.name+" goes on behind it", "none")
			}
		}
	}
	return nil
}

// Next is above the numbers of all segments.
func (r *Replayed) Next() uint64 { return r.number + 1 }

// Remove removes the files that a replay has found. A durable manifest must say that none of them is needed.
func (r *Replayed) Remove(fs vfs.FS, dir string) error {
	for _, name := range r.names {
		if err := fs.Remove(dir + "/" + name); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	r.names = nil
	return nil
}
