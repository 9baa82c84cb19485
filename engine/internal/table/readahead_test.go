package table

import (
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/vfs"
)

// countedFile counts reads.
type countedFile struct {
	vfs.File
	reads, longest, bytes int
}

func (f *countedFile) ReadAt(b []byte, offset int64) (int, error) {
	f.reads++
	f.bytes += len(b)
	f.longest = max(f.longest, len(b))
	return f.File.ReadAt(b, offset)
}

// TestAWalkReadsManyBlocksAtOnce counts the reads of a walk over everything, forward, and of one that is to read singly.
func TestAWalkReadsManyBlocksAtOnce(t *testing.T) {
	rows := benchRows(30_000)
	fs := vfs.NewMem()
	writeTable(t, fs, "t", 7, rows, 8<<10)
	inner, err := fs.Open("t")
	if err != nil {
		t.Fatal(err)
	}
	f := &countedFile{File: inner}
	table, err := Open(f, "t", 7, NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for _, singly := range []bool{false, true} {
		c := table.NewCursor(false)
		if singly {
			c.Singly()
		}
		f.reads, f.longest = 0, 0
		n := 0
		for r := c.Seek(nil, record.Forward); r != nil; r = c.Step() {
			if !sameRow(r, &rows[n]) {
				t.Fatalf("row %d differs", n)
			}
			n++
		}
		if c.Err() != nil || n != len(rows) {
			t.Fatal(n, c.Err())
		}
		if blocks := table.index.count; singly && f.reads != blocks || !singly && (f.reads > blocks/20 || f.longest > maxAheadBytes) {
			t.Fatalf("%d reads of up to %d bytes for %d blocks, singly %t", f.reads, f.longest, blocks, singly)
		}
	}
}

// TestAShortWalkReadsNothingThatItDoesNotNeed goes over one or two blocks.
func TestAShortWalkReadsNothingThatItDoesNotNeed(t *testing.T) {
	rows := benchRows(3000)
	fs := vfs.NewMem()
	writeTable(t, fs, "t", 7, rows, 8<<10)
	inner, err := fs.Open("t")
	if err != nil {
		t.Fatal(err)
	}
	f := &countedFile{File: inner}
	table, err := Open(f, "t", 7, NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	c := table.NewCursor(true)
	for from := 0; from < 2800; from += 300 {
		f.longest = 0
		r := c.Seek(&rows[from].Key, record.Forward)
		for n := range 50 {
			if !sameRow(r, &rows[from+n]) {
				t.Fatalf("row %d differs", from+n)
			}
			r = c.Step()
		}
		if f.longest > 8<<10 {
			t.Fatalf("%d bytes are read at once", f.longest)
		}
	}
}
