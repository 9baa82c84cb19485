package salvage

import (
	"bytes"
	"context"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// doubt is a range of keys, both ends included and nil for none, of which newer rows may be lost.
type doubt struct {
	start, end []byte
	hole       *hole // nil where rows of a table that was replaced may be deleted ones
}

// doubts are all of them, by their starts.
func (r *repair) doubts() (all []doubt) {
	for _, s := range r.sources {
		if s.hole != nil {
			start, end := s.bounds()
			all = append(all, doubt{start, end, s.hole})
		}
		if s.replaced {
			all = append(all, doubt{})
		}
	}
	slices.SortFunc(all, func(a, b doubt) int { return bytes.Compare(a.start, b.start) })
	return all
}

func (d *doubt) covers(user []byte) bool {
	return bytes.Compare(d.start, user) <= 0 && (d.end == nil || bytes.Compare(user, d.end) <= 0)
}

// exposes tells whether the newest row that is left of a key may have been hidden.
func (d *doubt) exposes(row *record.Row, owners []*source) bool {
	if d.hole == nil {
		return len(owners) == 1 && owners[0].replaced
	}
	// The newest row of the key before the hole is the table's newest: what the hole has of that key hid nothing.
	survived := d.hole.before != nil && bytes.Equal(d.hole.before.User, row.User)
	return row.Sequence <= d.hole.sequence && !survived
}

// expose lists the keys that may show an old or a deleted value (SV4).
func (r *repair) expose(ctx context.Context, l *list) error {
	if seededbug.Enabled(seededbug.EngineRepairSaysNothing) {
		return nil
	}
	doubts := r.doubts()
	for i := 0; i < len(doubts); {
		first := i
		start, end := doubts[i].start, doubts[i].end
		for i++; i < len(doubts) && (end == nil || bytes.Compare(doubts[i].start, end) <= 0); i++ {
			if e := doubts[i].end; e == nil || end != nil && bytes.Compare(e, end) > 0 {
				end = e
			}
		}
		if err := r.exposeRange(ctx, l, start, end, doubts[first:i]); err != nil {
			return err
		}
	}
	return nil
}

// exposeRange looks at the newest row of each key from start to end.
func (r *repair) exposeRange(ctx context.Context, l *list, start, end []byte, doubts []doubt) error {
	var from *record.Key
	if start != nil {
		first := record.FirstOf(start)
		from = &first
	}
	var user []byte // the key before
	m := seek(slices.Concat(r.memories, r.sources), from)
	for n := 1; m.row() != nil; m.step() {
		row := m.row()
		if end != nil && bytes.Compare(row.User, end) > 0 {
			break
		}
		if n++; n%contextStride == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if bytes.Equal(user, row.User) {
			continue
		}
		user = append(user[:0], row.User...)
		owners := m.owners()
		exposed := slices.ContainsFunc(doubts, func(d doubt) bool { return d.covers(user) && d.exposes(row, owners) })
		if row.Kind != record.Put || !exposed || owners[0] == r.named {
			continue
		}
		r.report.expose(user)
		if err := l.expose(user); err != nil {
			return err
		}
	}
	return m.err
}

// contextStride is how many rows are read between two looks at the context.
const contextStride = 4096
