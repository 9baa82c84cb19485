package walk

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// skipLimit is how many rows of one key are stepped over before a seek is cheaper: it takes as long as some twenty steps.
const skipLimit = 16

// SkipKey goes forward behind all rows of the current key, at one of which the cursor stands.
func (w *Walk) SkipKey() *record.Row {
	r := w.Cursor.Step()
	for n := 1; r != nil && bytes.Equal(r.User, w.Key); n++ {
		if n == skipLimit {
			r = w.SeekLastOfKey()
			continue
		}
		r = w.Cursor.Step()
	}
	return r
}

// SkipNewer goes forward from a row that is not seen at a time to the first one of its key that is, or else behind the key.
func (w *Walk) SkipNewer(at *record.Key) *record.Row {
	r := w.Cursor.Row()
	w.Key = append(w.Key[:0], r.User...)
	for n := 1; r != nil && bytes.Equal(r.User, w.Key) && !Seen(r, at); n++ {
		if n == skipLimit {
			r = w.seekNewest(at)
			continue
		}
		r = w.Cursor.Step()
	}
	return r
}

// seekNewest goes forward to the newest row of the current key that is not behind a time. One of a lower version that came later may stand there.
func (w *Walk) seekNewest(at *record.Key) *record.Row {
	w.target = record.Key{User: w.Key, Version: at.Version, Sequence: at.Sequence}
	return w.Cursor.Seek(&w.target, record.Forward)
}

// Seen reports whether a row is there at a time.
func Seen(r *record.Row, at *record.Key) bool {
	return r.Version <= at.Version && r.Sequence <= at.Sequence
}

// NewestOfMany calls visit with the newest row of the current key that is seen at a time, if there is one, and goes back to the last row before the
// key. On its way backward a walk meets the oldest row of a key first; of many it had better ask for the newest.
func (w *Walk) NewestOfMany(at *record.Key, visit func(*record.Row)) *record.Row {
	r := w.seekNewest(at)
	for r != nil && bytes.Equal(r.User, w.Key) && !Seen(r, at) {
		r = w.Cursor.Step()
	}
	if r != nil && bytes.Equal(r.User, w.Key) {
		visit(r)
	}
	if w.Cursor.Err() != nil {
		return nil
	}
	return w.SeekFirstOf(w.Key, record.Backward)
}

// Many reports whether it pays to call NewestOfMany after so many rows of a key.
func Many(rows int) bool { return rows == skipLimit }

// hiddenLimit is after how many hidden keys in a row it pays to look for the end of what hides them.
const hiddenLimit = 8

// SkipHidden goes, after so many keys in a row that were hidden, from a row behind the range of the tombstone that hid the last one, if that
// hides all that the row's table has in its range. Rows of other places stay where they are, as they may be newer.
func (w *Walk) SkipHidden(hidden int, t *rangedel.Tombstone, d record.Direction) *record.Row {
	r := w.Cursor.Row()
	for hidden >= hiddenLimit && r != nil && t.Covers(r.User) {
		var skipped bool
		if r, skipped = w.skipPart(t, d); !skipped {
			break
		}
	}
	return r
}

func (w *Walk) skipPart(t *rangedel.Tombstone, d record.Direction) (r *record.Row, skipped bool) {
	part := w.Cursor
	merged := part == record.Cursor(&w.merged)
	if merged {
		part = w.merged.First()
	}
	switch p := part.(type) {
	case *table.Cursor:
		if skipped = p.Properties().Before(t.Version, t.Sequence) || seededbug.Enabled(seededbug.EngineRangeSkipNewer); skipped {
			w.target = record.FirstOf(t.End)
			if d == record.Backward {
				w.target = record.FirstOf(t.Start)
			}
			p.Seek(&w.target, d)
		}
	case *levels.Cursor:
		skipped = p.SkipHidden(t)
	}
	switch {
	case !skipped:
		return w.Cursor.Row(), false
	case merged:
		return w.merged.Moved(part.Row()), true
	}
	return part.Row(), true
}
