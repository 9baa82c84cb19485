package inspect

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/engine/internal/wal"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Item is one piece of a file.
type Item struct {
	Kind   string // manifest, table, range, row, segment, batch, seal, torn or damage
	Fields []Field
}

// Field is one thing that is known of an item. Value is a string, a bool, an uint64 or, for keys and values, a []byte that is good
// until visit returns.
type Field struct {
	Name  string
	Value any
}

func (i *Item) add(name string, value any) { i.Fields = append(i.Fields, Field{name, value}) }

// ErrUnknown is returned for a file whose name is none of a store's.
var ErrUnknown = errors.New("not a manifest, a table or a segment of a log, by its name")

// State is what a manifest says of a store as a whole.
type State struct {
	Index, Term                   uint64 // position in the caller's log; zero for a store that is used alone
	LastVersion, LastBatch        uint64
	LastSequence, NextFile        uint64
	Floor                         uint64 // reads below this version are refused
	HorizonVersion, HorizonMillis uint64
	LogUsed                       bool
	LogSegment                    uint64
	Unordered                     bool
	TableCount                    int
	Families                      bool // keys begin with the prefix of a column family
}

// Retained says that the store was last written with Options.RetainVersions, or never.
func (s *State) Retained() bool { return s.Floor < s.LastVersion }

// Manifest reads the state of a directory. Without a manifest it is nil.
func Manifest(dir string) (*State, error) {
	m, err := manifest.Load(vfs.OS(), clean(dir))
	if m == nil || err != nil {
		return nil, err
	}
	return &State{
		Index: m.PositionIndex, Term: m.PositionTerm, LastVersion: m.LastVersion, LastBatch: m.LastBatch, LastSequence: m.LastSequence,
		NextFile: m.NextFile, Floor: m.Floor, HorizonVersion: m.HorizonVersion, HorizonMillis: m.HorizonExpiry,
		LogUsed: m.LogUsed, LogSegment: m.LogSegment, Unordered: m.Unordered, TableCount: len(m.Tables),
		Families: m.Families,
	}, nil
}

func clean(name string) string { return path.Clean(filepath.ToSlash(name)) }

// File gives visit every piece of a file. An error of visit ends it.
func File(name string, visit func(*Item) error) error {
	dir, base := path.Split(clean(name))
	if dir == "" {
		dir = "."
	}
	dir = path.Clean(dir)
	number, isTable := strings.CutSuffix(base, ".table")
	_, isLog := wal.FileNumber(base)
	switch {
	case base == manifest.Name:
		return showManifest(dir, visit)
	case isTable:
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", name, ErrUnknown)
		}
		return showTable(dir, base, n, visit)
	case isLog:
		return showLog(dir, base, visit)
	}
	return fmt.Errorf("%s: %w", name, ErrUnknown)
}

func showManifest(dir string, visit func(*Item) error) error {
	m, err := manifest.Load(vfs.OS(), dir)
	if err != nil {
		return err
	}
	if m == nil {
		return &fs.PathError{Op: "open", Path: dir + "/" + manifest.Name, Err: fs.ErrNotExist}
	}
	i := &Item{Kind: "manifest"}
	for _, f := range []Field{
		{"next_file", m.NextFile}, {"last_batch", m.LastBatch}, {"last_sequence", m.LastSequence}, {"last_version", m.LastVersion},
		{"floor", m.Floor}, {"unordered", m.Unordered}, {"index", m.PositionIndex}, {"term", m.PositionTerm},
		{"horizon_version", m.HorizonVersion}, {"horizon_ms", m.HorizonExpiry}, {"log_used", m.LogUsed}, {"log_segment", m.LogSegment},
	} {
		i.add(f.Name, f.Value)
	}
	if err := visit(i); err != nil {
		return err
	}
	for _, t := range m.Tables {
		i := &Item{Kind: "table"}
		i.add("level", uint64(t.Level))
		i.add("number", t.Number)
		i.add("bytes", t.Size)
		if err := visit(i); err != nil {
			return err
		}
	}
	return nil
}

func showTable(dir, base string, number uint64, visit func(*Item) error) error {
	f, err := vfs.OS().Open(dir + "/" + base)
	if err != nil {
		return err
	}
	r, err := table.Open(f, base, number, nil)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // it was only read
	p := r.Properties()
	i := &Item{Kind: "table"}
	for _, f := range []Field{
		{"number", number}, {"bytes", uint64(r.Size())}, {"rows", p.Rows}, {"keys", p.Keys}, {"tombstones", p.Tombstones},
		{"expiring", p.Expiring}, {"garbage", p.Garbage}, {"min_version", p.MinVersion}, {"max_version", p.MaxVersion},
		{"max_sequence", p.MaxSequence}, {"raw_bytes", p.RawBytes}, {"smallest", p.Smallest}, {"largest", p.Largest},
	} {
		i.add(f.Name, f.Value)
	}
	if err := visit(i); err != nil {
		return err
	}
	if err := showRanges(r.Ranges(), visit); err != nil {
		return err
	}
	c := r.NewCursor(false)
	var value []byte
	for c.Seek(nil, record.Forward); c.Row() != nil; c.Step() {
		if err := c.Row().Load(&value); err != nil {
			return err
		}
		if err := visit(rowItem(c.Row())); err != nil {
			return err
		}
	}
	return c.Err()
}

// showRanges shows range tombstones by their starts.
func showRanges(set *rangedel.Set, visit func(*Item) error) error {
	list := set.All()
	slices.SortFunc(list, func(a, b rangedel.Tombstone) int { return rangedel.Compare(&a, &b) })
	for _, t := range list {
		i := &Item{Kind: "range"}
		i.add("start", t.Start)
		i.add("end", t.End)
		i.add("version", t.Version)
		i.add("sequence", t.Sequence)
		i.add("deleted", true)
		if err := visit(i); err != nil {
			return err
		}
	}
	return nil
}

func rowItem(r *record.Row) *Item {
	i := &Item{Kind: "row"}
	i.add("key", r.User)
	i.add("version", r.Version)
	i.add("sequence", r.Sequence)
	if r.Kind == record.Delete {
		i.add("deleted", true)
		return i
	}
	if r.Expiry != 0 {
		i.add("expires_at_ms", r.Expiry)
	}
	i.add("value", r.Value)
	return i
}

func showLog(dir, base string, visit func(*Item) error) error {
	var damage error
	first := true
	s, err := wal.Scan(vfs.OS(), dir, base, func(s *wal.Segment, e *wal.Entry) error {
		if first {
			first = false
			if err := visit(segmentItem(s)); err != nil {
				return err
			}
		}
		if e.Batch == nil && e.Seal == 0 && !e.Torn && damage == nil {
			damage = e.Damage(base)
		}
		return showEntry(e, visit)
	})
	if err != nil {
		return err
	}
	if first {
		err = visit(segmentItem(s))
	}
	return errors.Join(err, damage)
}

func segmentItem(s *wal.Segment) *Item {
	i := &Item{Kind: "segment"}
	i.add("number", s.Number)
	i.add("first_batch", s.First)
	i.add("ordered", s.Ordered)
	return i
}

// showEntry shows a record and its rows, or the place where there is none.
func showEntry(e *wal.Entry, visit func(*Item) error) error {
	i := &Item{Kind: "damage"}
	switch {
	case e.Batch != nil:
		i.Kind = "batch"
	case e.Seal != 0:
		i.Kind = "seal"
	case e.Torn:
		i.Kind = "torn"
	}
	i.add("offset", uint64(e.Offset))
	i.add("bytes", uint64(e.Bytes))
	if e.Seal != 0 {
		i.add("next_segment", e.Seal)
	}
	b := e.Batch
	if b == nil {
		return visit(i)
	}
	i.add("number", b.Number)
	i.add("sequence", b.Sequence)
	i.add("rows", uint64(len(b.Refs)))
	if b.HasPosition {
		i.add("index", b.Index)
		i.add("term", b.Term)
	}
	if err := visit(i); err != nil || len(b.Refs) == 0 {
		return err
	}
	// The rows are shown in the order of keys: a memtable knows how to read them.
	m := memtable.New(0)
	m.Add(b.Rows, b.Refs, b.Sequence)
	if err := showRanges(m.Ranges(), visit); err != nil {
		return err
	}
	c := m.NewCursor()
	for c.Seek(nil, record.Forward); c.Row() != nil; c.Step() {
		if err := visit(rowItem(c.Row())); err != nil {
			return err
		}
	}
	return nil
}
