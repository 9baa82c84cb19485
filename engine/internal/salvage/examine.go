package salvage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/engine/internal/wal"
	"github.com/lightning-db/lightning/internal/vfs"
)

const tableSuffix = ".table"

func tableName(number uint64) string { return fmt.Sprintf("%06d%s", number, tableSuffix) }

// tableNumber is the number in the name of a table.
func tableNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, tableSuffix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil && tableName(n) == name
}

// examine finds out what there is and what of it is damaged.
func (r *repair) examine(ctx context.Context) error {
	if err := r.readManifest(); err != nil {
		return err
	}
	if err := r.openTables(ctx); err != nil {
		return err
	}
	return r.readLog(ctx)
}

// readManifest takes the state, or makes one in which only what is known of every store is said.
func (r *repair) readManifest() error {
	state, err := manifest.Load(r.FS, r.Dir)
	switch {
	case err == nil && state != nil:
		r.state, r.base.State = state, *state
		r.base.Tables = nil
		return nil
	case err == nil:
		err = corrupt.Shape(manifest.Name, 0, "manifest", "one", "none")
	case !isDamage(err):
		return err
	}
	r.report.ManifestRebuilt = true
	r.base.Families = r.Families
	r.report.Damage = append(r.report.Damage, Damage{File: manifest.Name, Err: err, Lost: true})
	return nil
}

// openTables opens what the manifest names, or all that there is, and reads it.
func (r *repair) openTables(ctx context.Context) error {
	if r.state != nil {
		for _, t := range r.state.Tables {
			r.sources = append(r.sources, &source{name: tableName(t.Number), number: t.Number, level: t.Level, size: t.Size})
		}
	} else {
		for _, name := range r.names {
			if n, ok := tableNumber(name); ok {
				r.sources = append(r.sources, &source{name: name, number: n, level: 0})
			}
		}
	}
	for _, s := range r.sources {
		if err := r.openTable(ctx, s); err != nil {
			return err
		}
		if s.damage != nil {
			r.note(s)
		}
	}
	return nil
}

// openTable opens and checks one table. Damage is noted in the source.
func (r *repair) openTable(ctx context.Context, s *source) error {
	r.progress(s.name)
	f, err := r.FS.Open(r.path(s.name))
	if vfs.IsNotExist(err) {
		s.damage = corrupt.Shape(s.name, 0, "file", "one, as the manifest names it", "none")
		return nil
	}
	if err == nil {
		s.table, err = table.Open(f, s.name, s.number, nil)
	}
	switch {
	case err != nil && isDamage(err):
		s.damage = err
		return nil
	case err != nil:
		return fmt.Errorf("open %s: %w", s.name, err)
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	if size := uint64(s.table.Size()); s.damage == nil && s.size != 0 && s.size != size {
		s.damage = corrupt.Shape(s.name, 0, "length of file", s.size, size)
	}
	return nil
}

// note puts a damaged table into the report.
func (r *repair) note(s *source) {
	d := Damage{File: s.name, Err: s.damage, Lost: s.table == nil}
	if d.Lost {
		r.report.AnyKey = true
	}
	if s.hole != nil {
		d.Hole = true
		d.Start, d.End = s.bounds()
	}
	r.report.Damage = append(r.report.Damage, d)
}

// readLog takes the batches out of a log that is damaged, or whose manifest is lost. A log that is whole stays for the next Open.
func (r *repair) readLog(ctx context.Context) error {
	if r.state != nil {
		start := wal.Start{Segment: r.state.LogSegment, Used: r.state.LogUsed, Batch: r.state.LastBatch, ReadOnly: true}
		_, err := wal.Replay(r.FS, r.Dir, start, func(*wal.Batch) error { return ctx.Err() })
		if err == nil || !isDamage(err) {
			return err
		}
		r.report.Damage = append(r.report.Damage, Damage{File: fileOf(err), Err: err})
	}
	l := &logReader{repair: r}
	segments, err := l.list()
	if err != nil {
		return err
	}
	for _, name := range segments {
		if err := l.read(ctx, name); err != nil {
			return err
		}
	}
	r.logLost = true
	r.report.AnyKey = r.report.AnyKey || l.gap // nothing tells that what was there is in tables
	if l.torn != nil {
		r.report.TornFile, r.report.TornOffset = l.torn.File, l.torn.Offset
	}
	return nil
}

// logReader takes batches from segments.
type logReader struct {
	*repair
	next   uint64         // number of the next batch, 0 before the first
	gap    bool           // records before the next one are damaged
	torn   *corrupt.Error // or the log ends there, if nothing follows
	memory *memtable.Memtable
	after  uint64 // sequence that the memory takes next
}

// list gives the names of the segments that may be needed, oldest first.
func (l *logReader) list() ([]string, error) {
	var found []*wal.Segment
	for _, name := range l.names {
		if _, ok := wal.FileNumber(name); !ok {
			continue
		}
		s, err := wal.Scan(l.FS, l.Dir, name, func(*wal.Segment, *wal.Entry) error { return errEnough })
		switch {
		case err != nil && isDamage(err):
			l.report.Damage = append(l.report.Damage, Damage{File: name, Err: err, Lost: true})
			l.report.AnyKey = true
		case err != nil && !errors.Is(err, errEnough):
			return nil, err
		case l.state == nil || s.Number >= l.state.LogSegment:
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b *wal.Segment) int { return cmp.Compare(a.Number, b.Number) })
	names := make([]string, len(found))
	for i, s := range found {
		names[i] = s.Name
	}
	return names, nil
}

// read takes the batches of one segment.
func (l *logReader) read(ctx context.Context, name string) error {
	l.progress(name)
	_, err := wal.Scan(l.FS, l.Dir, name, func(s *wal.Segment, e *wal.Entry) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case e.Batch != nil:
			l.take(s, e.Batch)
		case e.Seal == 0 && e.Torn:
			l.torn = e.Damage(s.Name)
			return errEnough
		case e.Seal == 0:
			l.damaged(e.Damage(s.Name))
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// damaged notes a place where there was something.
func (l *logReader) damaged(c *corrupt.Error) {
	l.report.Damage = append(l.report.Damage, Damage{File: c.File, Err: c})
	l.gap = true
}

// take puts a batch into memory, if it is not in tables.
func (l *logReader) take(s *wal.Segment, b *wal.Batch) {
	last := b.Sequence + uint64(len(b.Refs)) - 1
	if l.torn != nil { // it was no end
		l.damaged(l.torn)
		l.torn = nil
	}
	if l.gap && b.Sequence <= l.tablesSequence()+1 {
		l.gap = false // what was there is older, so it is in tables
	}
	if b.Number <= l.base.LastBatch && l.state != nil || l.state == nil && last <= l.tablesSequence() {
		l.next = b.Number + 1
		return
	}
	if l.next == 0 && l.state != nil {
		l.next = l.state.LastBatch + 1
	}
	if l.next != 0 && b.Number > l.next {
		l.report.Damage = append(l.report.Damage, Damage{
			File: s.Name, FirstBatch: l.next, LastBatch: b.Number - 1,
			Err: corrupt.Shape(s.Name, 0, "batch", l.next, b.Number),
		})
		l.report.AnyKey = true
	}
	l.next = b.Number + 1
	l.report.Batches++
	l.base.take(b)
	if len(b.Refs) == 0 {
		return
	}
	if l.memory == nil || b.Sequence != l.after {
		l.newMemory()
	}
	l.memory.Add(b.Rows, b.Refs, b.Sequence)
	l.after = last + 1
}

// newMemory begins another memtable: the rows of one have sequences without gaps.
func (l *logReader) newMemory() {
	m := memtable.New(0)
	l.memory = m
	l.memories = append(l.memories, &source{name: "log", memory: m})
}

// fileOf is the file that an error names.
func fileOf(err error) string {
	var c *corrupt.Error
	if errors.As(err, &c) {
		return c.File
	}
	return ""
}
