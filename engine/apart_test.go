package engine

import (
	"bytes"
	"errors"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

// kib gives values of 1 KiB, of which half is random.
func kib(i int) []byte {
	return append(bytes.Clone(noise[i%512*512:][:512]), bytes.Repeat([]byte{'v'}, 512)...)
}

// kibStore is a settled store of such rows, in 20 tables and more.
func kibStore(t *testing.T, count int, change func(o *Options)) *DB {
	t.Helper()
	o := small(vfs.NewMem())
	o.MemtableBytes, o.BlockBytes, o.CacheBytes, o.ApartBytes = 1<<20, 4<<10, 1<<20, 0
	change(&o)
	db := mustOpen(t, "db", o)
	for start := 0; start < count; start += 100 {
		apply(t, db, func(b *Batch) {
			for i := start; i < min(start+100, count); i++ {
				b.Put(numbered(i), kib(i), 0, 0)
			}
		})
	}
	settled(t, db)
	return db
}

// A walk over keys asks for the blocks of keys only, and shows what one over rows shows.
func TestAWalkOverKeysReadsNoValues(t *testing.T) {
	const count = 2000
	db := kibStore(t, count, func(*Options) {})
	defer func() { mustClose(t, db) }()
	near := kibStore(t, count, func(o *Options) { o.ApartBytes = -1 })
	defer func() { mustClose(t, near) }()
	asked := map[bool]uint64{}
	for apart, db := range map[bool]*DB{true: db, false: near} {
		s := db.Snapshot()
		defer s.Close()
		asked[apart] = blocksRead(db, func() {
			keys := walked(t, s, IteratorOptions{KeysOnly: true})
			if len(keys) != count || keys[7] != string(numbered(7)) {
				t.Errorf("%d keys", len(keys))
			}
		})
		it := s.NewIterator(IteratorOptions{KeysOnly: true})
		for ok := it.First(); ok; ok = it.Next() {
			if r := it.Row(); len(r.Value) > 0 || r.Version == 0 {
				t.Fatalf("row %+v", r)
			}
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("blocks asked for by a walk there and back over %d keys with values of 1 KiB: %d, and %d where values are beside them", count, asked[true], asked[false])
	if asked[true]*10 > asked[false] {
		t.Errorf("%d blocks are asked for, %d with the values", asked[true], asked[false])
	}
}

// Rows come whole by every way there is, also with little or no cache, and with one that has them.
func TestValuesThatStandApartAreReadByEveryWay(t *testing.T) {
	const count = 500
	for name, change := range map[string]func(o *Options){
		"caches":       func(*Options) {},
		"no cache":     func(o *Options) { o.CacheBytes = -1 },
		"no row cache": func(o *Options) { o.RowCacheBytes = -1 },
		"plain":        func(o *Options) { o.Compression = CompressionNone },
		"zstd":         func(o *Options) { o.Compression = CompressionZstd },
	} {
		db := kibStore(t, count, change)
		s := db.Snapshot()
		var buf []byte
		for range 2 {
			for i := range count {
				want := kib(i)
				if row, ok, err := db.Get(numbered(i), MaxVersion); err != nil || !ok || !bytes.Equal(row.Value, want) {
					t.Fatalf("%s: row %d: %v %v", name, i, ok, err)
				}
				row, ok, err := s.GetInto(buf, numbered(i), MaxVersion)
				if err != nil || !ok || !bytes.Equal(row.Value, want) {
					t.Fatalf("%s: row %d of the snapshot: %v %v", name, i, ok, err)
				}
				buf = row.Value
			}
		}
		it := s.NewIterator(IteratorOptions{})
		for i := range 20 { // changes of direction
			if !it.SeekGE(numbered(10*i+5)) || !bytes.Equal(it.Row().Value, kib(10*i+5)) || !it.Prev() || !bytes.Equal(it.Row().Value, kib(10*i+4)) ||
				!it.Next() || !it.Next() || !bytes.Equal(it.Row().Value, kib(10*i+6)) {
				t.Fatalf("%s: about row %d: %q %v", name, 10*i+5, it.Row().Key, it.Err())
			}
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		s.Close()
		mustClose(t, db)
	}
}

// Damage of one value is reported by what needs it, and costs that row alone; keys are shown nevertheless.
func TestDamageOfAValueCostsOneRow(t *testing.T) {
	const count, victim = 300, 123
	disk := vfs.NewMem()
	db := kibStore(t, count, func(o *Options) { o.FS, o.Compression, o.TableBytes = disk, CompressionNone, 4<<20 })
	o := db.options
	mustClose(t, db)
	at := 0
	for _, name := range []string{"000002.table", "000003.table", "000004.table", "000005.table"} {
		b, err := vfs.ReadFile(disk, "db/"+name)
		if i := bytes.Index(b, kib(victim)); err == nil && i > 0 {
			b[i+3] ^= 1
			f, _ := disk.Create("db/" + name)
			f.Write(b)
			f.Sync()
			f.Close()
			at++
		}
	}
	if at != 1 {
		t.Fatalf("the value is in %d files", at)
	}
	db = mustOpen(t, "db", o)
	if _, _, err := db.Get(numbered(victim), MaxVersion); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("read: %v", err)
	}
	s := db.Snapshot()
	if keys := walked(t, s, IteratorOptions{KeysOnly: true}); len(keys) != count {
		t.Fatalf("%d keys", len(keys))
	}
	for _, first := range []bool{true, false} {
		it, n := s.NewIterator(IteratorOptions{}), 0
		for ok := first && it.First() || !first && it.Last(); ok; {
			n++
			ok = first && it.Next() || !first && it.Prev()
		}
		want := map[bool]int{true: victim, false: count - victim - 1}[first]
		if err := it.Close(); !errors.Is(err, ErrCorrupt) || n != want {
			t.Fatalf("a walk shows %d rows, want %d: %v", n, want, err)
		}
	}
	s.Close()
	if err := db.Verify(t.Context()); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("verify: %v", err)
	}
	mustClose(t, db)
	report, err := Repair(t.Context(), "db", Options{FS: disk})
	if err != nil || len(report.Damage) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	db = mustOpen(t, "db", o)
	defer func() { mustClose(t, db) }()
	s = db.Snapshot()
	defer s.Close()
	if keys := walked(t, s, IteratorOptions{}); len(keys) != count-1 {
		t.Fatalf("%d rows are left: %v", len(keys), report.Damage)
	}
}
