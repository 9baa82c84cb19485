package engine

import (
	"fmt"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

// TestAScanAllocatesNothing walks forward and back over rows in memory, in level 0 and below, when it has done so before.
func TestAScanAllocatesNothing(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: vfs.NewMem()})
	defer mustClose(t, db)
	key := func(i int) []byte { return fmt.Appendf(nil, "key/%06d", i) }
	for part := range 3 {
		b := db.NewBatch()
		for i := range 2000 {
			b.Put(key(3*i+part), []byte("value"), 0, 0)
		}
		if err := db.Apply(b); err != nil {
			t.Fatal(err)
		}
		switch part {
		case 0:
			if err := db.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := db.Snapshot()
	defer s.Close()
	start, end := key(1000), key(1200)
	scan := func() {
		it := s.NewIterator(IteratorOptions{Start: start, End: end})
		n := 0
		for ok := it.First(); ok; ok = it.Next() {
			n++
		}
		for ok := it.Last(); ok; ok = it.Prev() {
			n--
		}
		if err := it.Close(); err != nil || n != 0 || it.Valid() {
			t.Fatal(n, err)
		}
	}
	scan()
	// A collection of garbage in between may empty the pool, so one allocation in many scans is none. With the race detector
	// pools forget at random.
	if n := testing.AllocsPerRun(200, scan); n >= 1 && slower == 1 {
		t.Fatalf("%v allocations a scan", n)
	}
}

// TestAClosedIteratorHarmsNoOther closes one twice and moves it, while its memory is in use by the next one.
func TestAClosedIteratorHarmsNoOther(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: vfs.NewMem()})
	defer mustClose(t, db)
	b := db.NewBatch()
	for i := range 10 {
		b.Put(fmt.Appendf(nil, "key/%d", i), fmt.Appendf(nil, "value/%d", i), 0, 0)
	}
	if err := db.Apply(b); err != nil {
		t.Fatal(err)
	}
	s := db.Snapshot()
	defer s.Close()
	old := s.NewIterator(IteratorOptions{})
	if !old.First() {
		t.Fatal("no first row")
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	next := s.NewIterator(IteratorOptions{})
	defer next.Close()
	if !next.SeekGE([]byte("key/5")) {
		t.Fatal("no row")
	}
	if old.Next() || old.Prev() || old.First() || old.Last() || old.SeekGE([]byte("key/7")) || old.SeekLT([]byte("key/7")) {
		t.Fatal("a closed iterator moves")
	}
	if err := old.Close(); err != ErrClosed {
		t.Fatal(err)
	}
	if r := next.Row(); string(r.Key) != "key/5" || string(r.Value) != "value/5" || !next.Next() || string(next.Row().Key) != "key/6" {
		t.Fatalf("another iterator stands at %q", next.Row().Key)
	}
}

// TestAWalkOverRunsOfATableSeesWhatOthersHaveAndNothingLater walks over a table whose rows come one after the other, with
// rows of other places among them, at an older snapshot and at an older version, and turns back within a run.
func TestAWalkOverRunsOfATableSeesWhatOthersHaveAndNothingLater(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: vfs.NewMem(), RetainVersions: true, BlockBytes: 2 << 10})
	defer mustClose(t, db)
	const keys = 1200
	put := func(from, every int, value string) {
		b := db.NewBatch()
		for i := from; i < keys; i += every {
			b.Put(fmt.Appendf(nil, "key/%06d", i), []byte(value), 0, 0)
		}
		if err := db.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	put(0, 2, "first")
	first := db.Snapshot()
	defer first.Close()
	version := db.LastVersion()
	put(0, 6, "second")
	put(1, 100, "second")
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(3, 100, "level 0")
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	put(5, 100, "memory")
	last := db.Snapshot()
	defer last.Close()

	before := func(i int) string {
		if i%2 == 0 {
			return "first"
		}
		return ""
	}
	now := func(i int) string {
		switch {
		case i%6 == 0 || i%100 == 1:
			return "second"
		case i%100 == 3:
			return "level 0"
		case i%100 == 5:
			return "memory"
		}
		return before(i)
	}
	walksAre(t, last, MaxVersion, keys, now)
	walksAre(t, first, MaxVersion, keys, before)
	walksAre(t, last, version, keys, before)
}

// walksAre compares walks over so many keys with their values, where an empty one is for none. Each turns back once for some steps.
func walksAre(t *testing.T, s *Snapshot, at Version, keys int, value func(i int) string) {
	t.Helper()
	var want []int
	for i := range keys {
		if value(i) != "" {
			want = append(want, i)
		}
	}
	for turn := 0; turn < len(want); turn += 37 {
		it := s.NewIterator(IteratorOptions{At: at})
		place := 0
		is := func(ok bool) {
			t.Helper()
			i := want[place]
			if r := it.Row(); !ok || string(r.Key) != fmt.Sprintf("key/%06d", i) || string(r.Value) != value(i) {
				t.Fatalf("at %d, turning at %d: %v, %q=%q, want key %d=%q", at, turn, ok, r.Key, r.Value, i, value(i))
			}
		}
		is(it.First())
		for place < turn {
			place++
			is(it.Next())
		}
		for range min(turn, 5) {
			place--
			is(it.Prev())
		}
		for place < len(want)-1 {
			place++
			is(it.Next())
		}
		if it.Next() || it.Close() != nil {
			t.Fatal("a walk goes on behind the last row")
		}
	}
}
