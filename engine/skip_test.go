package engine

import (
	"fmt"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

// blocksRead counts how often a walk asks for a block of a table, whether the cache has it or not.
func blocksRead(db *DB, walk func()) uint64 {
	before := db.Metrics()
	walk()
	after := db.Metrics()
	return after.CacheHits + after.CacheMisses - before.CacheHits - before.CacheMisses
}

// walked lists the keys that an iterator shows, there and back, which must be the same.
func walked(t *testing.T, s *Snapshot, o IteratorOptions) (keys []string) {
	t.Helper()
	it := s.NewIterator(o)
	for ok := it.First(); ok; ok = it.Next() {
		keys = append(keys, string(it.Row().Key))
	}
	at := len(keys)
	for ok := it.Last(); ok; ok = it.Prev() {
		if at--; at < 0 || keys[at] != string(it.Row().Key) {
			t.Fatalf("backward row %d is %q, forward were %q", at, it.Row().Key, keys)
		}
	}
	if err := it.Close(); err != nil || at != 0 {
		t.Fatalf("%d of %d rows are not met backward: %v", at, len(keys), err)
	}
	return keys
}

func numbered(i int) []byte { return fmt.Appendf(nil, "key%06d", i) }

// fillNumbered applies rows with numbers from start to end.
func fillNumbered(t *testing.T, db *DB, start, end int) {
	t.Helper()
	for ; start < end; start += 100 {
		apply(t, db, func(b *Batch) {
			for i := start; i < min(start+100, end); i++ {
				b.Put(numbered(i), noise[i%1000:i%1000+100], 0, 0)
			}
		})
	}
}

// Rows that a range tombstone hides are most of 10 tables with some 200 blocks each; a walk needs the blocks at the ends of the range.
func TestAWalkDoesNotReadTheBlocksOfADeletedRange(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		o := small(vfs.NewMem())
		o.MemtableBytes, o.TableBytes, o.BlockBytes = 1<<20, 128<<10, 1<<10
		db := mustOpen(t, "db", o)
		const count = 10_000
		fillNumbered(t, db, 0, count)
		settled(t, db)
		before := db.Snapshot() // keeps the rows
		apply(t, db, func(b *Batch) { b.DeleteRange(numbered(50), numbered(count-50), 0) })
		apply(t, db, func(b *Batch) { b.Put(numbered(count/2), []byte("again"), 0, 0) })
		if flushed {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		after := db.Snapshot()
		all := blocksRead(db, func() {
			if n := len(walked(t, before, IteratorOptions{})); n != count {
				t.Errorf("%d rows before", n)
			}
		})
		few := blocksRead(db, func() {
			if n := len(walked(t, after, IteratorOptions{})); n != 101 {
				t.Errorf("%d rows after", n)
			}
		})
		t.Logf("flushed %v: blocks asked for %d with all rows, %d when most are deleted", flushed, all, few)
		if few > all/20 {
			t.Errorf("flushed %v: a walk asks for %d blocks of %d, though nearly all are hidden", flushed, few, all)
		}
		before.Close()
		after.Close()
		mustClose(t, db)
	}
}

// Tables that came after a snapshot have nothing for it.
func TestASnapshotDoesNotReadTablesThatCameLater(t *testing.T) {
	o := small(vfs.NewMem())
	o.MemtableBytes, o.BlockBytes, o.CompactCount, o.StopCount = 1<<20, 1<<10, 40, 80
	db := mustOpen(t, "db", o)
	defer func() { mustClose(t, db) }()
	fillNumbered(t, db, 0, 100)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	s := db.Snapshot()
	defer s.Close()
	read := func() uint64 {
		return blocksRead(db, func() {
			if n := len(walked(t, s, IteratorOptions{})); n != 100 {
				t.Errorf("%d rows", n)
			}
		})
	}
	alone := read()
	fillNumbered(t, db, 100, 4000)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if beside := read(); beside != alone {
		t.Errorf("%d blocks are asked for beside a later table, %d without", beside, alone)
	}
}

// A key with thousands of versions costs a walk at one of them as many blocks as a search, both ways.
func TestAWalkSeeksInAKeyOfManyVersions(t *testing.T) {
	o := small(vfs.NewMem())
	o.MemtableBytes, o.BlockBytes, o.RetainVersions = 4<<20, 1<<10, true
	db := mustOpen(t, "db", o)
	defer func() { mustClose(t, db) }()
	const versions = 4000
	for v := 1; v <= versions; v++ {
		apply(t, db, func(b *Batch) {
			b.Put([]byte("a"), fmt.Appendf(nil, "a%d", v), Version(v), 0)
			b.Put([]byte("b"), noise[v%1000:v%1000+50], Version(v), 0)
		})
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	s := db.Snapshot()
	defer s.Close()
	for _, at := range []Version{1, versions / 2, versions} {
		n := blocksRead(db, func() {
			if keys := walked(t, s, IteratorOptions{At: at}); len(keys) != 2 {
				t.Errorf("keys %q", keys)
			}
			it := s.NewIterator(IteratorOptions{At: at})
			for _, ok := range []bool{it.First(), it.SeekLT([]byte("b"))} {
				if want := fmt.Sprintf("a%d", at); !ok || string(it.Row().Value) != want {
					t.Errorf("value %q, want %q", it.Row().Value, want)
				}
			}
			it.Close()
		})
		if n > 60 {
			t.Errorf("at version %d a walk asks for %d blocks", at, n)
		}
	}
}
