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
