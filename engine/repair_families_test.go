package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

// withoutCatalog makes a store with the families first and second, of which the block is damaged that names them.
func withoutCatalog(t *testing.T, o Options) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	o.FS = disk
	db := mustOpen(t, "db", o)
	first, second := mustCreate(t, db, "first"), mustCreate(t, db, "second")
	for i := range 50 {
		apply(t, db, func(b *Batch) {
			b.In(first).Put(fmt.Appendf(nil, "key%03d", i), bytes.Repeat([]byte{byte(i)}, 300), 0)
			b.In(second).Put(fmt.Appendf(nil, "key%03d", i), bytes.Repeat([]byte{byte(i)}, 200), 0)
		})
	}
	mustClose(t, db)
	for name, content := range tree(t, disk, "db") {
		if strings.HasSuffix(name, tableSuffix) {
			damaged := []byte(content)
			damaged[3] ^= 0x55
			overwrite(t, disk, "db/"+name, damaged)
		}
	}
	return disk
}

// TestRowsOfAFamilyWhoseEntryIsLostGetAName: they can be read under it, and the report has it.
func TestRowsOfAFamilyWhoseEntryIsLostGetAName(t *testing.T) {
	for _, withManifest := range []bool{true, false} {
		o := small(nil)
		o.Families, o.Compression, o.ApartBytes = true, CompressionNone, -1 // the catalog begins the file
		disk := withoutCatalog(t, o)
		o.FS = disk
		if !withManifest {
			if err := disk.Remove("db/MANIFEST"); err != nil {
				t.Fatal(err)
			}
		}
		report, err := Repair(t.Context(), "db", o)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"lost-1", "lost-2"}; !slices.Equal(report.Families, want) {
			t.Fatalf("named %q, want %q", report.Families, want)
		}
		if list := readFile(t, disk, "db/"+report.ReportFile); !strings.Contains(string(list), "lost-2") {
			t.Fatalf("not in the file: %s", list)
		}
		again, err := Repair(t.Context(), "db", o)
		if err != nil || again.Changed {
			t.Fatalf("a second repair: %+v, %v", again, err)
		}
		db := mustOpen(t, "db", o)
		if n := rowCount(t, db, "lost-1"); n == 0 || n > 50 {
			t.Fatalf("%d rows of the first family", n)
		}
		if n := rowCount(t, db, "lost-2"); n != 50 {
			t.Fatalf("%d rows of the second family, whose block is whole", n)
		}
		created := mustCreate(t, db, "new")
		if n := rowCount(t, db, created.Name()); n != 0 {
			t.Fatalf("a new family has %d rows of another one", n)
		}
		if err := db.DropFamily("lost-1"); err != nil {
			t.Fatal(err)
		}
		if err := db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
		db = mustOpen(t, "db", o)
		if n := rowCount(t, db, "lost-2"); n != 50 || len(db.Families()) != 2 {
			t.Fatalf("%d rows of the second family, %d families", n, len(db.Families()))
		}
		mustClose(t, db)
	}
}

// TestARepairNamesNoFamilyThatHasAName: those whose entries are whole stay what they are, dropped ones dropped.
func TestARepairNamesNoFamilyThatHasAName(t *testing.T) {
	disk := vfs.NewMem()
	o := small(disk)
	o.Families, o.CompactCount, o.StopCount = true, 64, 65
	db := mustOpen(t, "db", o)
	for _, name := range []string{"lost-3", "dropped", "other"} {
		f := mustCreate(t, db, name)
		apply(t, db, func(b *Batch) { b.In(f).Put([]byte("k"), []byte("v"), 0) })
	}
	if err := db.DropFamily("dropped"); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	if err := disk.Remove("db/MANIFEST"); err != nil {
		t.Fatal(err)
	}
	report, err := Repair(t.Context(), "db", o)
	if err != nil || len(report.Families) != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	db = mustOpen(t, "db", o)
	defer mustClose(t, db)
	if n := rowCount(t, db, "lost-3") + rowCount(t, db, "other"); n != 2 || len(db.Families()) != 2 {
		t.Fatalf("%d rows, %d families", n, len(db.Families()))
	}
}

// rowCount counts the rows of a family.
func rowCount(t *testing.T, db *DB, name string) (n int) {
	t.Helper()
	f, err := db.Family(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	s := db.Snapshot()
	defer s.Close()
	it := s.In(f).NewIterator(IteratorOptions{})
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}
