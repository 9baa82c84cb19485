package engine

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/merge"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// IteratorOptions say what an iterator walks over.
type IteratorOptions struct {
	Start []byte  // first key; nil for no bound
	End   []byte  // first key that is out; nil for no bound
	At    Version // rows with versions up to this; MaxVersion for the newest. Zero means MaxVersion
}

// Iterator walks over the newest rows at a version, one per key, in the order of keys, both ways.
// Tombstones are left out; expired rows are not. It is for one goroutine and must be closed: it
// keeps memtables and files from going away. A move that finds no row makes it invalid, and Next
// and Prev leave it so until the next seek.
type Iterator struct {
	view       *view // nil once closed
	cursor     record.Cursor
	at         record.Key // User unused: the version and sequence to read at
	start, end []byte
	err        error

	valid     bool
	direction record.Direction
	row       Row
	key       []byte // the current key, which row.Key is
	value     []byte // a copy of the value, when going backward
}

// NewIterator makes an iterator over what the snapshot sees, which stands nowhere. It may be used
// after the snapshot is closed. If the version is not kept, Err is ErrSnapshotTooOld.
func (s *Snapshot) NewIterator(o IteratorOptions) *Iterator {
	if o.At == 0 {
		o.At = MaxVersion
	}
	it := &Iterator{start: bytes.Clone(o.Start), end: bytes.Clone(o.End)}
	it.at = record.Key{Version: uint64(o.At), Sequence: s.applied.sequence}
	if it.view, it.err = s.acquire(o.At); it.err != nil {
		return it
	}
	it.cursor = merge.New(it.view.cursors(it.start, it.end)...)
	return it
}

// cursors makes a cursor of each place where rows in [start, end) may be.
func (v *view) cursors(start, end []byte) []record.Cursor {
	cursors := []record.Cursor{v.memory.NewCursor()}
	for _, s := range v.sealed {
		cursors = append(cursors, s.memory.NewCursor())
	}
	for level, tables := range v.set.Levels {
		var in []*levels.Table
		for _, t := range tables {
			p := t.Properties
			if (end == nil || bytes.Compare(p.Smallest, end) < 0) && bytes.Compare(p.Largest, start) >= 0 {
				in = append(in, t)
			}
		}
		cursors = append(cursors, levelCursors(level, in, true)...)
	}
	return cursors
}

// First goes to the first key.
func (it *Iterator) First() bool { return it.SeekGE(it.start) }

// Last goes to the last key.
func (it *Iterator) Last() bool { return it.seekBefore(it.end) }

// SeekGE goes to the first key at or after a key.
func (it *Iterator) SeekGE(key []byte) bool {
	if it.err != nil {
		return false
	}
	if bytes.Compare(key, it.start) < 0 {
		key = it.start
	}
	it.direction = record.Forward
	it.cursor.Seek(firstOf(key), record.Forward)
	return it.findForward()
}

// SeekLT goes to the last key before a key.
func (it *Iterator) SeekLT(key []byte) bool {
	if it.end != nil && bytes.Compare(key, it.end) > 0 {
		key = it.end
	}
	if key == nil {
		key = []byte{} // nothing is before it; nil would be the end
	}
	return it.seekBefore(key)
}

// seekBefore takes nil for the end of everything.
func (it *Iterator) seekBefore(key []byte) bool {
	if it.err != nil {
		return false
	}
	it.direction = record.Backward
	if key == nil {
		it.cursor.Seek(nil, record.Backward)
	} else {
		it.cursor.Seek(firstOf(key), record.Backward)
	}
	return it.findBackward()
}

func firstOf(key []byte) *record.Key {
	k := record.FirstOf(key)
	return &k
}

// Next goes to the next key.
func (it *Iterator) Next() bool {
	if !it.valid {
		return false
	}
	if it.direction == record.Backward {
		// The cursor stands before all rows of the current key.
		it.direction = record.Forward
		it.cursor.Seek(lastOf(it.key), record.Forward)
	}
	it.skipKey()
	return it.findForward()
}

// lastOf is the place behind all rows of a user key but one that cannot be.
func lastOf(key []byte) *record.Key { return &record.Key{User: key} }

// skipLimit is how many rows of one key are stepped over before a seek is cheaper.
const skipLimit = 16

// skipKey goes forward behind all rows of the current key.
func (it *Iterator) skipKey() {
	for n := 0; ; n++ {
		r := it.cursor.Row()
		if r == nil || !bytes.Equal(r.User, it.key) {
			return
		}
		if n == skipLimit {
			it.cursor.Seek(lastOf(it.key), record.Forward)
			continue
		}
		it.cursor.Step()
	}
}

// findForward finds, from the cursor on, the first key that has a row to show.
func (it *Iterator) findForward() bool {
	it.valid = false
	for r := it.cursor.Row(); r != nil; r = it.cursor.Row() {
		switch {
		case it.end != nil && bytes.Compare(r.User, it.end) >= 0 &&
			!(seededbug.Enabled(seededbug.EngineEndInclusive) && bytes.Equal(r.User, it.end)):
			return false
		case r.Version > it.at.Version || r.Sequence > it.at.Sequence:
			it.cursor.Step()
			continue
		}
		it.key = append(it.key[:0], r.User...)
		if r.Kind == record.Put {
			it.show(r, r.Value)
			return true
		}
		it.skipKey()
	}
	it.err = it.cursor.Err()
	return false
}

// show makes a row current. Its value is valid until the cursor moves or for longer.
func (it *Iterator) show(r *record.Row, value []byte) {
	it.row = Row{Key: it.key, Value: value, Version: Version(r.Version), ExpiryMillis: r.Expiry}
	it.valid = true
}

// Prev goes to the previous key.
func (it *Iterator) Prev() bool {
	if !it.valid {
		return false
	}
	if it.direction == record.Forward {
		it.direction = record.Backward
		it.cursor.Seek(firstOf(it.key), record.Backward)
	}
	return it.findBackward()
}

// findBackward finds, from the cursor back, the last key that has a row to show. Backward the
// oldest row of a key comes first, so the last one that may be seen is the one to show.
func (it *Iterator) findBackward() bool {
	it.valid = false
	for it.cursor.Row() != nil {
		r := it.cursor.Row()
		if bytes.Compare(r.User, it.start) < 0 {
			return false
		}
		it.key = append(it.key[:0], r.User...)
		found := it.newestBackward()
		if it.err = it.cursor.Err(); it.err != nil {
			it.valid = false
			return false
		}
		if found {
			return true
		}
	}
	it.err = it.cursor.Err()
	return false
}

// newestBackward walks back over all rows of the current key and shows the newest that may be
// seen, if that is not a tombstone.
func (it *Iterator) newestBackward() bool {
	it.valid = false
	for r := it.cursor.Row(); r != nil && bytes.Equal(r.User, it.key); r = it.cursor.Row() {
		if r.Version <= it.at.Version && r.Sequence <= it.at.Sequence {
			it.value = append(it.value[:0], r.Value...)
			it.show(r, it.value)
			it.valid = r.Kind == record.Put
		}
		it.cursor.Step()
	}
	return it.valid
}

// Valid reports whether there is a current row.
func (it *Iterator) Valid() bool { return it.valid }

// Row is the current row. Its bytes are read-only and good until the next move.
func (it *Iterator) Row() Row { return it.row }

// Err is the error that ended the walk, or nil.
func (it *Iterator) Err() error { return it.err }

// Close gives back what the iterator holds. It returns Err.
func (it *Iterator) Close() error {
	err := it.err
	if it.view != nil {
		it.view.unref()
		it.view, it.valid = nil, false
		it.err = ErrClosed
	}
	return err
}
