package salvage

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/engine/internal/wal"
	"github.com/lightning-db/lightning/internal/vfs"
)

// base is what the new manifest says beside its tables.
type base struct{ manifest.State }

// take notes a batch of the log that the new tables hold.
func (b *base) take(batch *wal.Batch) {
	for _, ref := range batch.Refs {
		b.Unordered = b.Unordered || ref.Version < b.LastVersion
		b.LastVersion = max(b.LastVersion, ref.Version)
	}
	b.LastBatch = max(b.LastBatch, batch.Number)
	if n := uint64(len(batch.Refs)); n > 0 {
		b.LastSequence = max(b.LastSequence, batch.Sequence+n-1)
	}
	if batch.HasPosition {
		b.PositionIndex, b.PositionTerm = batch.Index, batch.Term
	}
	b.HorizonVersion = max(b.HorizonVersion, batch.HorizonVersion)
	b.HorizonExpiry = max(b.HorizonExpiry, batch.HorizonExpiry)
}

// group is sources that are written anew as tables of one level.
type group struct {
	level   int
	sources []*source
}

// plan says what is written anew. Sources that are in no group stay as they are.
func (r *repair) plan() (groups []group) {
	if r.state == nil {
		all := append(r.memories[:len(r.memories):len(r.memories)], r.sources...)
		return []group{{level: r.levelFor(all), sources: all}}
	}
	var zero group
	zeroDamaged := false
	for _, s := range r.sources {
		switch {
		case s.level == 0:
			zero.sources = append(zero.sources, s)
			zeroDamaged = zeroDamaged || s.damage != nil
		case s.damage != nil:
			groups = append(groups, group{level: s.level, sources: []*source{s}})
		}
	}
	if zeroDamaged {
		groups = append(groups, zero)
	}
	if len(r.memories) > 0 { // last: it gets the highest numbers
		groups = append(groups, group{sources: r.memories})
	}
	return groups
}

// levelFor is the first level that has room for all tables: each has ten times that of the one above.
func (r *repair) levelFor(sources []*source) int {
	total := uint64(0)
	for _, s := range sources {
		if s.table != nil {
			total += uint64(s.table.Size())
		}
	}
	level, target := 1, uint64(r.LevelBytes)
	for total > target && level < manifest.LevelCount-1 {
		level, target = level+1, target*10
	}
	return level
}

// rewrite makes the new tables in the directory of the repair and gives what the manifest says of them.
func (r *repair) rewrite(ctx context.Context, groups []group) error {
	for _, g := range groups {
		if err := r.rewriteGroup(ctx, g); err != nil {
			return err
		}
		for _, s := range g.sources {
			if s.table != nil {
				r.report.Tables++
			}
		}
	}
	return nil
}

// markReplaced notes which of the tables that have a row in common is an input of a compaction: that of the lower number.
func markReplaced(owners []*source) {
	highest := uint64(0)
	for _, s := range owners {
		highest = max(highest, s.number)
	}
	for _, s := range owners {
		s.replaced = s.replaced || s.memory == nil && s.number < highest
	}
}

// writer writes rows as tables, and cuts between keys.
type writer struct {
	*repair
	level  int
	file   vfs.File
	table  *table.Writer
	number uint64
	user   []byte
	ranges []rangedel.Tombstone // sorted: those that cover keys behind the tables that are made
}

func (w *writer) add(ctx context.Context, r *record.Row) error {
	if w.table != nil && w.table.Size() >= w.TableBytes && !bytes.Equal(w.user, r.User) {
		var upTo []rangedel.Tombstone
		upTo, w.ranges = rangedel.Cut(w.ranges, w.user)
		w.table.AddRanges(upTo)
		if err := w.cut(); err != nil {
			return err
		}
	}
	if err := w.open(ctx); err != nil {
		return err
	}
	w.user = append(w.user[:0], r.User...)
	w.seen(r.Version, r.Sequence)
	w.report.Rows++
	return w.table.Add(r)
}

// open begins a table, if none has begun.
func (w *writer) open(ctx context.Context) error {
	if w.table != nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w.number = w.base.NextFile
	w.base.NextFile++
	f, err := w.FS.Create(w.work(tableName(w.number)))
	if err != nil {
		return err
	}
	w.progress(tableName(w.number))
	w.file, w.table = f, table.NewWriter(f, w.number, table.Options{BlockBytes: w.BlockBytes, Compression: table.S2})
	return nil
}

// seen notes the version and the sequence of a row or a range tombstone.
func (w *writer) seen(version, sequence uint64) {
	w.base.LastVersion = max(w.base.LastVersion, version)
	w.base.LastSequence = max(w.base.LastSequence, sequence)
}

// end completes the last table: with the range tombstones that are left, and with nothing else if there were no rows.
func (w *writer) end(ctx context.Context) error {
	if len(w.ranges) > 0 {
		if err := w.open(ctx); err != nil {
			return err
		}
		w.table.AddRanges(w.ranges)
	}
	return w.cut()
}

// cut completes a table and reads it back.
func (w *writer) cut() error {
	if w.table == nil {
		return nil
	}
	_, size, err := w.table.Finish()
	if closeErr := w.file.Close(); err == nil {
		err = closeErr
	}
	w.table = nil
	if err != nil {
		return fmt.Errorf("write %s: %w", tableName(w.number), err)
	}
	w.base.Tables = append(w.base.Tables, manifest.Table{Level: w.level, Number: w.number, Size: size})
	return nil
}

func (w *writer) close() {
	if w.table != nil {
		_ = w.file.Close() // the repair has failed already, and its directory goes
	}
}

// rewriteGroup is rewrite for one of them.
func (r *repair) rewriteGroup(ctx context.Context, g group) error {
	w := &writer{repair: r, level: g.level}
	for _, s := range g.sources {
		for _, t := range s.ranges() {
			w.seen(t.Version, t.Sequence)
			w.ranges = append(w.ranges, t)
		}
	}
	w.ranges = rangedel.Join(w.ranges)
	m := seek(g.sources, nil)
	for ; m.row() != nil; m.step() {
		if owners := m.owners(); len(owners) > 1 {
			markReplaced(owners)
		}
		if err := w.add(ctx, m.row()); err != nil {
			w.close()
			return err
		}
	}
	if m.err != nil {
		w.close()
		return m.err
	}
	return w.end(ctx)
}

// tablesSequence is the sequence of the last row that any table has.
func (r *repair) tablesSequence() (last uint64) {
	for _, s := range r.sources {
		if s.table != nil {
			last = max(last, s.table.Properties().MaxSequence)
		}
	}
	return min(last, math.MaxUint64-1)
}
