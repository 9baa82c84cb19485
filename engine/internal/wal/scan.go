package wal

import (
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Segment is what a file of the log says of itself.
type Segment struct {
	Name    string
	Number  uint64 // of this life of the file
	First   uint64 // batch that it may hold
	Ordered bool   // it is synced before the next one is written to
}

// Entry is what Scan found at an offset: a batch, a seal, or bytes between two records that are none.
type Entry struct {
	Offset, Bytes int64
	Batch         *Batch // nil if it is none
	Seal          uint64 // the next segment, if it is a seal
	// Torn says that the log may end here as a crash leaves it: nothing that follows proves that these bytes were durable.
	Torn bool
}

// Scan shows every record that is in a file of the log, in order, and the places between them that are damaged. It is for
// looking and for salvage, not for opening: what a record means for those behind it is the caller's to judge. A file without a header is a
// corrupt.Error.
func Scan(fs vfs.FS, dir, name string, visit func(*Segment, *Entry) error) (*Segment, error) {
	b, err := readFile(fs, dir, name)
	if err != nil {
		return nil, err
	}
	h, err := decodeHeader(name, b)
	if errors.Is(err, errNoHeader) {
		return nil, corrupt.Shape(name, 0, "header", "that of a segment", "none")
	}
	if err != nil {
		return nil, err
	}
	s := &Segment{Name: name, Number: h.number, First: h.first, Ordered: h.ordered}
	for at, number := int64(dataStart), h.first; at < int64(len(b)); {
		e, ok := h.id.entry(b, at, number)
		if !ok {
			return s, nil
		}
		if e.Batch != nil {
			number = e.Batch.Number + 1
		}
		if err := visit(s, e); err != nil || e.Seal != 0 {
			return s, err
		}
		at += e.Bytes
	}
	return s, nil
}

// entry is what lies at an offset, where the batch of a number may be; false where the segment just ends.
func (id *identity) entry(b []byte, at int64, number uint64) (*Entry, bool) {
	if r, ok := id.decode(b, at); ok {
		e := &Entry{Offset: at, Bytes: r.end() - at}
		if r.kind == kindSeal {
			e.Seal = r.number
			return e, true
		}
		if batch, ok := decodeBatch(r.number, append([]byte(nil), r.payload...)); ok {
			e.Batch = batch
		}
		return e, true
	}
	for next := at + alignment; next < int64(len(b)); next += alignment {
		if r, ok := id.decode(b, next); ok {
			return &Entry{Offset: at, Bytes: next - at, Torn: r.durable <= at}, true
		}
	}
	return &Entry{Offset: at, Bytes: int64(len(b)) - at, Torn: true}, id.traces(b[at:], number)
}

// Damage is the error of an entry that is no record.
func (e *Entry) Damage(name string) *corrupt.Error {
	return corrupt.Shape(name, e.Offset, "record", "one", fmt.Sprintf("%d bytes that are none", e.Bytes))
}

// FileNumber is the number in the name of a file of the log; false for other files.
func FileNumber(name string) (uint64, bool) { return fileNumber(name) }
