package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// store is one on a disk, with tables in several levels, whose files are damaged on copies.
type store struct {
	t      *testing.T
	random *rand.Rand
	disk   *vfs.Mem
	model  *model
	rows   []Row // what a walk over everything shows
	kinds  []string
	files  map[string][]string // names by kind
	bytes  map[string][]byte   // by name

	covered uint64 // tables that read's store dropped unread

	detected, harmless map[string]int // by what was done
	served             *int           // wrong rows
	wrong              *string        // the first thing that should not have been
}

func newStore(t *testing.T, seed uint64) *store { return newStoreOf(t, seed, 2) }

// newStoreOf is newStore with so many tables in level 0 before they are compacted.
func newStoreOf(t *testing.T, seed uint64, compactCount int) *store {
	t.Helper()
	s := &store{
		t: t, random: rand.New(rand.NewPCG(seed, 6)), disk: vfs.NewMem(), model: newModel(),
		files: map[string][]string{}, bytes: map[string][]byte{},
	}
	o := small(s.disk)
	o.CompactCount = compactCount
	db := mustOpen(t, "db", o)
	h := &history{random: rand.New(rand.NewPCG(seed, 5)), keys: 100, millis: 1000}
	for i := range 120 {
		b := h.batch(s.model)
		s.model.apply(b)
		apply(t, db, func(batch *Batch) { b.fill(batch, s.model.index()) })
		if i%20 == 19 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, db)
	s.rows = s.model.list(MaxVersion, s.model.applied.sequence, nil, nil)
	names, err := s.disk.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := vfs.ReadFile(s.disk, "db/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 {
			kind := name[strings.LastIndex(name, ".")+1:]
			s.files[kind], s.bytes[name] = append(s.files[kind], name), b
		}
	}
	s.kinds = slices.Sorted(maps.Keys(s.files))
	return s
}

// pick draws a file, of each kind as often.
func (s *store) pick() string {
	of := s.files[s.kinds[s.random.IntN(len(s.kinds))]]
	return of[s.random.IntN(len(of))]
}

// damaged is what was done to a file.
type damaged struct {
	what string // how
	name string
	at   int // the first byte that is not as it was
	end  int // and the first behind it that is again
}

func (d damaged) String() string { return fmt.Sprintf("%s, %s at %d", d.name, d.what, d.at) }

// try opens a copy of the store in which a file has other bytes, or none, and notes how that went.
func (s *store) try(d damaged, bad []byte) {
	disk := s.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll})
	if bad == nil {
		if err := disk.Remove("db/" + d.name); err != nil {
			s.t.Fatal(err)
		}
	} else {
		overwrite(s.t, disk, "db/"+d.name, bad)
	}
	err := s.read(d, disk)
	var c *CorruptionError
	switch {
	case err == nil && bytes.Equal(bad, s.bytes[d.name]):
		s.harmless[d.what]++
	case err == nil && s.covered > 0 && gone(s.t, disk, d.name):
		s.harmless["in a table that is dropped unread"]++ // as a range tombstone covers all of it
	case err == nil && gone(s.t, disk, d.name) && s.inValues(d):
		s.harmless["in values of rows that a compaction drops unread"]++
	case !errors.As(err, &c) || !errors.Is(err, ErrCorrupt) || c.Expected == "" || c.Found == "":
		s.blame("%v: %v", d, err)
	case c.File != d.name || c.Offset > int64(d.end):
		s.blame("%v: another place is named: %v", d, err)
	default:
		s.detected[d.what]++
	}
}

// inValues reports whether a table was damaged only where values are that stand apart from their keys.
func (s *store) inValues(d damaged) bool {
	if !strings.HasSuffix(d.name, ".table") {
		return false
	}
	var number uint64
	if _, err := fmt.Sscanf(d.name, "%d.table", &number); err != nil {
		s.t.Fatal(err)
	}
	f, err := s.disk.Open("db/" + d.name)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := table.Open(f, d.name, number, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	left := d.end - d.at
	c := r.NewCursor(false)
	for row := c.Seek(nil, record.Forward); row != nil; row = c.Step() {
		if far := row.Far; far.Raw > 0 {
			const rest = 5 // type and checksum of a frame
			left -= max(0, min(d.end, int(far.Offset)+int(far.Stored)+rest)-max(d.at, int(far.Offset)))
		}
	}
	return left == 0
}

func gone(t *testing.T, disk *vfs.Mem, name string) bool {
	t.Helper()
	names, err := disk.List("db")
	if err != nil {
		t.Fatal(err)
	}
	return !slices.Contains(names, name)
}

// read reads everything in a store, forward, back and by key, and then verifies it. What it is shown is right.
func (s *store) read(d damaged, disk *vfs.Mem) error {
	o := small(disk)
	o.CompactCount, o.CacheBytes = 1+s.random.IntN(4), []int{-1, 256 << 10}[s.random.IntN(2)]
	db, err := Open("db", o)
	if err != nil {
		return err
	}
	defer db.Close()
	for range min(3, len(s.rows)) { // a deleted range may have taken all of them
		want := s.rows[s.random.IntN(len(s.rows))]
		row, ok, err := db.Get(want.Key, MaxVersion)
		if err == nil && (!ok || !equalRow(row, want)) {
			*s.served++
			s.blame("%v: Get gives a wrong row", d)
		}
	}
	backward := s.random.IntN(2) == 0
	n, walked := s.walk(d, db, backward)
	if walked == nil && n != len(s.rows) {
		s.blame("%v: %d rows of %d, and nobody said so", d, n, len(s.rows))
	}
	err = db.Verify(s.t.Context())
	s.covered = db.Metrics().CoveredTables
	if err != nil {
		return err
	}
	return walked
}

func (s *store) walk(d damaged, db *DB, backward bool) (n int, err error) {
	snapshot := db.Snapshot()
	defer snapshot.Close()
	it := snapshot.NewIterator(IteratorOptions{})
	w := &walker{model: s.model, it: it}
	first, next := it.First, it.Next
	if backward {
		first, next = it.Last, it.Prev
	}
	for ok := w.move(first, next); ok; ok = w.move(next, next) {
		i := n
		if backward {
			i = len(s.rows) - 1 - n
		}
		if i < 0 || i >= len(s.rows) || !equalRow(it.Row(), s.rows[i]) {
			*s.served++
			s.blame("%v: a walk shows a wrong row", d)
			break
		}
		n++
	}
	return n, it.Close()
}

func (s *store) blame(format string, args ...any) {
	if *s.wrong == "" {
		*s.wrong = fmt.Sprintf(format, args...)
	}
}

func overwrite(t *testing.T, disk *vfs.Mem, name string, data []byte) {
	t.Helper()
	f, err := disk.Create(name)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDamageIsNamedAndNeverServed flips bits, clears sectors, cuts, lengthens and removes files, and puts right bytes into wrong places.
// Whatever is then read is right, or a CorruptionError with the file and where in it; Open, a read or Verify finds all of it.
func TestDamageIsNamedAndNeverServed(t *testing.T) {
	const sector = 512
	seed := uint64(testkit.Seed(t))
	var s *store
	counts := map[string]int{}
	detected, harmless, served, wrong := map[string]int{}, map[string]int{}, 0, ""
	for n := range *damageCount {
		if n%500 == 0 {
			s = newStore(t, seed+uint64(n))
			s.detected, s.harmless, s.served, s.wrong = detected, harmless, &served, &wrong
			s.whole()
		}
		name := s.pick()
		good := s.bytes[name]
		at := s.random.IntN(len(good))
		bad := bytes.Clone(good)
		bad[at] ^= 1 << s.random.IntN(8)
		s.try(damaged{"bit flipped", name, at, at + 1}, bad)
		if n%10 == 0 {
			start := at / sector * sector
			end := min(start+sector, len(good))
			s.try(damaged{"sector zeroed", name, start, end}, slices.Concat(good[:start], make([]byte, end-start), good[end:]))
			s.try(damaged{"cut", name, at, len(good)}, good[:at])
		}
		if n%50 == 0 {
			s.swap(sector)
		}
		counts[name[strings.LastIndex(name, ".")+1:]]++
	}
	t.Logf("engine: damage of files %v: detected %v, harmless %v, wrong rows served %d, seed %d", counts, detected, harmless, served, seed)
	if wrong != "" {
		t.Fatalf("seed %d: %s", seed, wrong)
	}
}

// whole does to each file what there are few ways to do.
func (s *store) whole() {
	for name, good := range s.bytes {
		s.try(damaged{"one byte longer", name, len(good), len(good) + 1}, append(bytes.Clone(good), 0))
		s.try(damaged{"missing", name, 0, 0}, nil)
		s.try(damaged{"empty", name, 0, len(good)}, []byte{})
		for other, bytes := range s.bytes {
			if other != name {
				s.try(damaged{"another file", name, 0, max(len(good), len(bytes))}, bytes)
			}
		}
	}
}

// swap puts a sector, or a frame of one, of a file, or of another, in the place of another one, and that in its place.
func (s *store) swap(sector int) {
	a := s.pick()
	b := a
	if s.random.IntN(2) == 0 {
		b = s.pick()
	}
	n := min(sector, len(s.bytes[a])/2, len(s.bytes[b])/2)
	from, to := s.random.IntN(len(s.bytes[a])-n+1), s.random.IntN(len(s.bytes[b])-n+1)
	if s.random.IntN(2) == 0 && n == sector {
		from, to = from/sector*sector, to/sector*sector
	}
	moved := bytes.Clone(s.bytes[a])
	copy(moved[from:from+n], s.bytes[b][to:to+n])
	s.try(damaged{"block replaced", a, from, from + n}, moved)
}

func expectCorruption(t *testing.T, what string, err error) {
	t.Helper()
	var c *CorruptionError
	if !errors.As(err, &c) || !errors.Is(err, ErrCorrupt) || c.File == "" || c.Expected == "" || c.Found == "" {
		t.Fatalf("%s: %v is no CorruptionError", what, err)
	}
}

func TestStoreWithoutManifestIsNotEmpty(t *testing.T) {
	s := newStore(t, 1)
	if err := s.disk.Remove("db/" + manifest.Name); err != nil {
		t.Fatal(err)
	}
	_, err := Open("db", small(s.disk))
	expectCorruption(t, "no manifest", err)
	names, _ := s.disk.List("db")
	if !slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, tableSuffix) }) {
		t.Fatal("the refused Open removed tables")
	}
}
