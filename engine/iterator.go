package engine

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/engine/internal/walk"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// IteratorOptions say what an iterator walks over.
type IteratorOptions struct {
	Start []byte  // first key; nil for no bound
	End   []byte  // first key that is out; nil for no bound
	At    Version // rows with versions up to this; MaxVersion for the newest. Zero means MaxVersion

	// KeysOnly leaves the values of rows empty. Those that stand apart from their keys (Options.ApartBytes) are not read then.
	KeysOnly bool
}

// Iterator walks over the newest rows at a version, one per key, in the order of keys, both ways.
// Tombstones are left out; expired rows are not, except with Options.Clock. It is for one goroutine and must be closed: it
// keeps memtables and files from going away. A move that finds no row makes it invalid, and Next
// and Prev leave it so until the next seek.
type Iterator struct {
	db        *DB
	view      *view
	ranges    walk.Ranges
	walk      *walk.Walk // nil once closed, and when there is nothing to walk over
	at        record.Key // User unused: the version and sequence to read at
	bounded   bool       // there is an end
	keysOnly  bool
	err       error
	valid     bool
	direction record.Direction
	row       Row
	newest    struct { // row of the current key, on a walk backward
		row  record.Row
		seen bool
	}
	hidden int                 // keys in a row that were hidden by range tombstones
	hider  *rangedel.Tombstone // of the last one
	run    *table.Cursor       // stands at the current row, and goes over those that no other place has a part in; nil for none
}

// NewIterator makes an iterator over what the snapshot sees, which stands nowhere. It may be used
// after the snapshot is closed. If the version is not kept, Err is ErrSnapshotTooOld.
func (s *Snapshot) NewIterator(o IteratorOptions) *Iterator {
	it := new(Iterator) // this much is inlined, so that the iterator may live on the caller's stack
	it.begin(s, o)
	return it
}

func (it *Iterator) begin(s *Snapshot, o IteratorOptions) {
	if o.At == 0 {
		o.At = MaxVersion
	}
	// What has a version above that of the snapshot came later.
	it.db, it.at = s.db, record.Key{Version: uint64(min(o.At, s.applied.version)), Sequence: s.applied.sequence}
	v, err := s.acquire(o.At)
	if err != nil {
		it.err = err
		return
	}
	it.bounded, it.keysOnly = o.End != nil, o.KeysOnly
	it.view, it.walk = v, walk.Take(o.Start, o.End)
	it.walk.AddMemory(v.memory)
	it.ranges.AddMemory(v.memory)
	for _, s := range v.sealed {
		it.walk.AddMemory(s.memory)
		it.ranges.AddMemory(s.memory)
	}
	it.walk.AddTables(v.set, it.at.Version)
	it.ranges.AddTables(v.set, o.Start, o.End, it.at.Version)
	it.walk.Begin()
}

// First goes to the first key.
func (it *Iterator) First() bool { return it.SeekGE(nil) }

// Last goes to the last key.
func (it *Iterator) Last() bool {
	if it.err != nil {
		return false
	}
	it.direction, it.run = record.Backward, nil
	if it.bounded {
		return it.findBackward(it.walk.SeekFirstOf(it.walk.End, record.Backward))
	}
	return it.findBackward(it.walk.Cursor.Seek(nil, record.Backward))
}

// SeekGE goes to the first key at or after a key.
func (it *Iterator) SeekGE(key []byte) bool {
	if it.err != nil {
		return false
	}
	if bytes.Compare(key, it.walk.Start) < 0 {
		key = it.walk.Start
	}
	it.direction, it.run = record.Forward, nil
	return it.findForward(it.walk.SeekFirstOf(key, record.Forward))
}

// SeekLT goes to the last key before a key.
func (it *Iterator) SeekLT(key []byte) bool {
	if it.err != nil {
		return false
	}
	if it.bounded && bytes.Compare(key, it.walk.End) > 0 {
		key = it.walk.End
	}
	it.direction, it.run = record.Backward, nil
	return it.findBackward(it.walk.SeekFirstOf(key, record.Backward))
}

// Next goes to the next key.
func (it *Iterator) Next() bool {
	if it.run != nil {
		if it.run.StepRun(&it.row.Key, &it.row.Value, (*uint64)(&it.row.Version)) {
			if it.keysOnly {
				it.row.Value = nil
			}
			return true
		}
		it.endRun()
	}
	if !it.valid {
		return false
	}
	if it.direction == record.Backward {
		// The cursor stands before all rows of the current key.
		it.direction = record.Forward
		return it.findForward(it.walk.SeekLastOfKey())
	}
	return it.findForward(it.walk.SkipKey())
}

// endRun goes on as if the run's rows had come one by one.
func (it *Iterator) endRun() {
	it.walk.Key = append(it.walk.Key[:0], it.run.Row().User...)
	it.run = nil
}

// findForward finds, from a row on, the first key that has a row to show. The cursor stands at the row.
func (it *Iterator) findForward(r *record.Row) bool {
	w := it.walk
	it.valid = false
	for r != nil {
		switch {
		case it.bounded && bytes.Compare(r.User, w.End) >= 0 &&
			!(seededbug.Enabled(seededbug.EngineEndInclusive) && bytes.Equal(r.User, w.End)):
			return false
		case !walk.Seen(r, &it.at):
			r = w.SkipNewer(&it.at)
			continue
		}
		w.Key = append(w.Key[:0], r.User...)
		if r.Kind == record.Put && !it.db.expired(r.Expiry) && !it.hides(r) {
			if !it.show(r) {
				return false
			}
			if it.ranges.None() {
				it.run = w.Run(&it.at, it.keysOnly)
			}
			return true
		}
		if r = w.SkipKey(); it.hidden > 0 {
			r = w.SkipHidden(it.hidden, it.hider, record.Forward)
		}
	}
	it.err = w.Cursor.Err()
	return false
}

// hides reports whether a range tombstone makes the key of a row absent.
func (it *Iterator) hides(r *record.Row) bool {
	if it.ranges.None() {
		return false
	}
	if it.hider = it.ranges.Hider(r, &it.at); it.hider == nil {
		it.hidden = 0
		return false
	}
	it.hidden++
	return true
}

// show makes a row current. Its value is valid until the cursor moves or for longer. It fails, false, if the value cannot be read.
func (it *Iterator) show(r *record.Row) bool {
	var value []byte
	if !it.keysOnly {
		if it.err = r.Load(&it.walk.Value); it.err != nil {
			return false
		}
		value = r.Value
	}
	it.row.Key, it.row.Value = it.walk.Key, value
	it.row.Version, it.row.ExpiryMillis = Version(r.Version), r.Expiry
	it.valid = true
	return true
}

// Prev goes to the previous key.
func (it *Iterator) Prev() bool {
	if !it.valid {
		return false
	}
	w := it.walk
	if it.run != nil {
		it.run.FinishRun()
		it.endRun()
	}
	if it.direction == record.Forward {
		it.direction = record.Backward
		return it.findBackward(w.SeekFirstOf(w.Key, record.Backward))
	}
	return it.findBackward(w.Cursor.Row())
}

// findBackward finds, from a row back, the last key that has a row to show. Backward the
// oldest row of a key comes first, so the last one that may be seen is the one to show.
func (it *Iterator) findBackward(r *record.Row) bool {
	w := it.walk
	it.valid = false
	for r != nil && !it.valid {
		if bytes.Compare(r.User, w.Start) < 0 {
			return false
		}
		w.Key = append(w.Key[:0], r.User...)
		r = it.newestBackward(r)
	}
	if it.err == nil {
		it.err = w.Cursor.Err()
	}
	it.valid = it.valid && it.err == nil // a newer row may be missing
	return it.valid
}

// newestBackward walks back over all rows of the current key and shows the newest that may be
// seen, if that is not a tombstone. It gives the row at which the cursor stands then.
func (it *Iterator) newestBackward(r *record.Row) *record.Row {
	w := it.walk
	it.newest.seen = false
	for n := 1; r != nil && bytes.Equal(r.User, w.Key); n++ {
		if walk.Many(n) {
			r = w.NewestOfMany(&it.at, it.consider)
			break
		}
		if walk.Seen(r, &it.at) {
			it.consider(r)
		}
		r = w.Cursor.Step()
	}
	if !it.showNewest() {
		return nil
	}
	if r != nil && it.hidden > 0 {
		r = w.SkipHidden(it.hidden, it.hider, record.Backward)
	}
	return r
}

// consider keeps a row of the current key, of which there may be newer ones. A value that stands apart is not read yet.
func (it *Iterator) consider(r *record.Row) {
	w := it.walk
	if r.Far.Raw == 0 {
		w.Value = append(w.Value[:0], r.Value...)
	}
	it.newest.row, it.newest.seen = *r, true
	it.newest.row.User, it.newest.row.Value = w.Key, w.Value
}

// showNewest shows the last row that was considered, unless it says that the key is absent. It fails, false, as show does.
func (it *Iterator) showNewest() bool {
	r := &it.newest.row
	if !it.newest.seen || r.Kind != record.Put || it.db.expired(r.Expiry) || it.hides(r) {
		return true
	}
	return it.show(r)
}

// Valid reports whether there is a current row.
func (it *Iterator) Valid() bool { return it.valid }

// Row is the current row. Its bytes are read-only and good until the next move or Close.
func (it *Iterator) Row() Row { return it.row }

// Err is the error that ended the walk, or nil.
func (it *Iterator) Err() error { return it.err }

// Close gives back what the iterator holds. It returns Err.
func (it *Iterator) Close() error {
	err := it.err
	if it.walk != nil {
		it.walk.Give()
		it.view.unref()
		it.view, it.walk, it.run, it.valid = nil, nil, nil, false
		it.err = ErrClosed
	}
	return err
}
