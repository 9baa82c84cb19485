package engine

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

// small are options that make everything happen after a few rows.
func small(fs vfs.FS) Options {
	return Options{
		FS: fs, MemtableBytes: 64 << 10, BlockBytes: 1 << 10, TableBytes: 64 << 10, LevelBytes: 128 << 10,
		CacheBytes: 256 << 10, ApartBytes: 40,
	}
}

func mustOpen(t testing.TB, dir string, o Options) *DB {
	t.Helper()
	db, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func mustClose(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func apply(t testing.TB, db *DB, fill func(b *Batch)) {
	t.Helper()
	b := db.NewBatch()
	fill(b)
	if err := db.Apply(b); err != nil {
		t.Fatal(err)
	}
}

func expectValue(t testing.TB, db *DB, key, want string) {
	t.Helper()
	row, ok, err := db.Get([]byte(key), MaxVersion)
	if err != nil || !ok || string(row.Value) != want || string(row.Key) != key {
		t.Fatalf("Get(%s) = %q, %v, %v; want %q", key, row.Value, ok, err, want)
	}
}

func expectAbsent(t testing.TB, db *DB, key string) {
	t.Helper()
	if row, ok, err := db.Get([]byte(key), MaxVersion); err != nil || ok {
		t.Fatalf("Get(%s) = %q, %v, %v; want none", key, row.Value, ok, err)
	}
}

func TestAppliedRowsAreReadBackAlsoAfterReopen(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", small(fs))
	apply(t, db, func(b *Batch) {
		b.Put([]byte("a"), []byte("1"), 0, 0)
		b.Put([]byte("b"), []byte("2"), 0, 77)
		b.SetPosition(Position{Index: 5, Term: 2})
	})
	apply(t, db, func(b *Batch) { b.Delete([]byte("a"), 0) })
	check := func() {
		t.Helper()
		expectAbsent(t, db, "a")
		expectValue(t, db, "b", "2")
		if row, _, _ := db.Get([]byte("b"), MaxVersion); row.Version != 1 || row.ExpiryMillis != 77 {
			t.Fatalf("row %+v", row)
		}
		if db.Applied() != (Position{5, 2}) || db.LastVersion() != 2 {
			t.Fatalf("applied %v, version %d", db.Applied(), db.LastVersion())
		}
	}
	check()
	if db.Durable() != (Position{}) {
		t.Fatal("durable before any flush")
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if db.Durable() != (Position{5, 2}) {
		t.Fatalf("durable %v", db.Durable())
	}
	check()
	mustClose(t, db)
	db = mustOpen(t, "db", small(fs))
	check()
	mustClose(t, db)
}

func TestManyRowsGoThroughAllLevels(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", small(fs))
	const n = 20000
	value := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%d,", i*7919), 10) }
	for i := range n {
		k := i * 7919 % n
		apply(t, db, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%06d", k), value(k), 0, 0) })
	}
	for i := range n {
		expectValue(t, db, fmt.Sprintf("key%06d", i), string(value(i)))
	}
	s := db.Snapshot()
	it := s.NewIterator(IteratorOptions{})
	count := 0
	for ok := it.First(); ok; ok = it.Next() {
		if string(it.Row().Key) != fmt.Sprintf("key%06d", count) || !bytes.Equal(it.Row().Value, value(count)) {
			t.Fatalf("row %d is %q", count, it.Row().Key)
		}
		count++
	}
	for ok := it.Last(); ok; ok = it.Prev() {
		count--
		if string(it.Row().Key) != fmt.Sprintf("key%06d", count) || !bytes.Equal(it.Row().Value, value(count)) {
			t.Fatalf("row %d is %q", count, it.Row().Key)
		}
	}
	if err := it.Close(); err != nil || count != 0 {
		t.Fatal(err, count)
	}
	s.Close()
	m := db.Metrics()
	t.Logf("%+v", m)
	if m.Levels[1].TableCount == 0 || m.Levels[2].TableCount == 0 {
		t.Fatalf("no deep tables: %+v", m.Levels)
	}
	if err := db.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectValue(t, db, "key000000", string(value(0)))
	mustClose(t, db)
}
