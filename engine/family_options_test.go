package engine

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/vfs"
)

// withOptions makes a family, and keeps rows of text in it that each compression makes much smaller.
func withOptions(t *testing.T, db *DB, name string, o FamilyOptions) *Family {
	t.Helper()
	f, err := db.CreateFamily(name, o)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, db, func(b *Batch) {
		for i := range 200 {
			b.In(f).Put(numbered(i), bytes.Repeat(fmt.Appendf(nil, "%s says %d. ", name, i), 20), 0)
		}
	})
	return f
}

// plainRows counts the values of a family that lie in the files as they are.
func plainRows(t *testing.T, disk *vfs.Mem, name string) (n int) {
	t.Helper()
	files, err := disk.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := vfs.ReadFile(disk, "db/"+file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			n += bytes.Count(b, bytes.Repeat(fmt.Appendf(nil, "%s says %d. ", name, i), 20))
		}
	}
	return n
}

// Each family is compressed in its own way by flushes and by compactions, also after the store was opened again.
func TestFamiliesAreCompressedEachInItsWay(t *testing.T) {
	for _, apart := range []int{-1, 40} {
		disk := vfs.NewMem()
		o := small(disk)
		o.Families, o.ApartBytes, o.MemtableBytes = true, apart, 1<<20
		none, zstd := CompressionNone, CompressionZstd
		db := mustOpen(t, "db", o)
		withOptions(t, db, "as-the-store", FamilyOptions{})
		withOptions(t, db, "plain", FamilyOptions{Compression: &none})
		withOptions(t, db, "dense", FamilyOptions{Compression: &zstd})
		for round := range 3 {
			switch round {
			case 0:
				if err := db.Flush(); err != nil {
					t.Fatal(err)
				}
			case 1:
				settled(t, db)
			case 2:
				mustClose(t, db)
				db = mustOpen(t, "db", o)
				f, err := db.Family("plain")
				if err != nil || f.Options().Compression == nil || *f.Options().Compression != none {
					t.Fatalf("options after opening: %+v, %v", f.Options(), err)
				}
				apply(t, db, func(b *Batch) { b.In(f).Put([]byte("new"), []byte("one"), 0) })
				settled(t, db)
			}
			for name, want := range map[string]int{"as-the-store": 0, "plain": 200, "dense": 0} {
				if n := plainRows(t, disk, name); n != want {
					t.Errorf("apart from %d, round %d: %d plain rows of %q, want %d", apart, round, n, name, want)
				}
			}
		}
		if err := db.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
	}
}

// rowsOfFamily counts what tables have of a family, whether anybody sees it or not.
func rowsOfFamily(db *DB, f *Family) (n int) {
	v := db.acquire()
	defer v.unref()
	for _, tables := range v.set.Levels {
		for _, table := range tables {
			c := table.Reader.NewCursor(false)
			for r := c.Seek(nil, record.Forward); r != nil; r = c.Step() {
				if bytes.HasPrefix(r.User, f.prefix) {
					n++
				}
			}
		}
	}
	return n
}

// In a store that keeps versions a family may keep newest rows only: they go with the next compaction, reads of the past are refused,
// and open snapshots see what they saw.
func TestAFamilyKeepsNewestRowsOnly(t *testing.T) {
	o := small(vfs.NewMem())
	o.Families, o.RetainVersions = true, true
	db := mustOpen(t, "db", o)
	all, newest := mustCreate(t, db, "all"), mustCreate(t, db, "other")
	if err := db.DropFamily("other"); err != nil {
		t.Fatal(err)
	}
	newest, err := db.CreateFamily("newest", FamilyOptions{NewestOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	put := func(value string) Version {
		apply(t, db, func(b *Batch) {
			for _, f := range []*Family{all, newest} {
				b.In(f).Put([]byte("k"), []byte(value), 0)
				b.In(f).Delete([]byte("gone"))
			}
		})
		return db.applied.Load().version
	}
	first := put("one")
	s := db.Snapshot()
	put("two")
	put("three")
	read := func(s *Snapshot, f *Family, at Version) (string, error) {
		it := s.In(f).NewIterator(IteratorOptions{At: at})
		value := ""
		if it.First() {
			value = string(it.Row().Value)
		}
		return value, it.Close()
	}
	for round := range 3 {
		now := db.Snapshot()
		if value, err := read(now, all, first); value != "one" || err != nil {
			t.Fatalf("round %d: the past of the other family is %q, %v", round, value, err)
		}
		if _, err := read(now, newest, first); !errors.Is(err, ErrSnapshotTooOld) {
			t.Fatalf("round %d: the past is read: %v", round, err)
		}
		if value, err := read(now, newest, 0); value != "three" || err != nil {
			t.Fatalf("round %d: the newest row is %q, %v", round, value, err)
		}
		now.Close()
		if round < 2 {
			if value, err := read(s, newest, 0); value != "one" || err != nil {
				t.Fatalf("round %d: the snapshot sees %q, %v", round, value, err)
			}
		}
		if round == 1 {
			s.Close()
		}
		settled(t, db)
	}
	// The other family has three versions of each of two keys, this one the newest of one.
	if few, many := rowsOfFamily(db, newest), rowsOfFamily(db, all); few != 1 || many != 6 {
		t.Errorf("%d rows of the family, %d of the other", few, many)
	}
	mustClose(t, db)
	db = mustOpen(t, "db", o)
	if f, err := db.Family("newest"); err != nil || !f.Options().NewestOnly {
		t.Fatal("the option is forgotten", err)
	}
	bad := CompressionZstd + 1
	if _, err := db.CreateFamily("bad", FamilyOptions{Compression: &bad}); err == nil {
		t.Fatal("a compression that there is not is taken")
	}
	mustClose(t, db)
}
