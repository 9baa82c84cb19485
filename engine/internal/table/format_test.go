package table

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// goldenRows use every feature of the row layout; their one block does not compress.
func goldenRows() []record.Row {
	return []record.Row{
		{Key: record.Key{User: []byte("apple"), Version: 300, Sequence: 9}, Kind: record.Put, Value: []byte("red")},
		{Key: record.Key{User: []byte("apple"), Version: 200, Sequence: 4}, Kind: record.Delete},
		{Key: record.Key{User: []byte("apricot"), Version: 250, Sequence: 7}, Kind: record.Put, Expiry: 1000, Value: []byte("orange")},
		{Key: record.Key{User: []byte("pear"), Version: 1, Sequence: 1}, Kind: record.Put},
	}
}

func goldenPackedRows() []record.Row {
	return []record.Row{{Key: record.Key{User: []byte("k"), Version: 1, Sequence: 1}, Kind: record.Put, Value: bytes.Repeat([]byte("ab"), 300)}}
}

// goldenManyRows take a block each: their values do not fit beside another one.
func goldenManyRows() (rows []record.Row) {
	for i, k := range []record.Key{
		{User: []byte("app"), Version: 1, Sequence: 1},
		{User: []byte("apple"), Version: 9, Sequence: 3},
		{User: []byte("apple"), Version: 7, Sequence: 2},
		{User: []byte("apricot"), Version: 4, Sequence: 4},
	} {
		rows = append(rows, record.Row{Key: k, Kind: record.Put, Value: []byte("0123456789" + string(rune('a'+i)))})
	}
	return rows
}

func TestFormatIsThatOfTheDocument(t *testing.T) {
	for name, golden := range map[string]struct {
		rows       []record.Row
		blockBytes int
	}{"table.hex": {goldenRows(), 1024}, "table-blocks.hex": {goldenManyRows(), 20}} {
		fs := vfs.NewMem()
		writeTable(t, fs, "t", 7, golden.rows, golden.blockBytes)
		got, err := vfs.ReadFile(fs, "t")
		if err != nil {
			t.Fatal(err)
		}
		if want := testkit.Golden(t, name); !bytes.Equal(got, want) {
			t.Errorf("%s: written as\n%x\nwant\n%x", name, got, want)
		}
	}
}

// TestTablesOfTheFormatAreRead also reads compressed blocks; how exactly the library compresses
// is not part of the format.
func TestTablesOfTheFormatAreRead(t *testing.T) {
	for name, rows := range map[string][]record.Row{
		"table.hex": goldenRows(), "table-blocks.hex": goldenManyRows(),
		"table-s2.hex": goldenPackedRows(), "table-zstd.hex": goldenPackedRows(),
	} {
		fs := vfs.NewMem()
		f, _ := fs.Create("t")
		if _, err := f.Write(testkit.Golden(t, name)); err != nil {
			t.Fatal(err)
		}
		f.Close()
		table, err := openTable(fs, "t", 7, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkWalks(t, 0, table, rows)
		if err := table.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		table.Close()
	}
}

func TestFilterKnowsAllItsKeysAndFewOthers(t *testing.T) {
	var hashes []uint64
	key := func(i int) []byte {
		return []byte(strings.Repeat("k", i%11) + string(rune('a'+i%26)) + hex.EncodeToString([]byte{byte(i), byte(i >> 8), byte(i >> 16)}))
	}
	const n = 20_000
	for i := range n {
		hashes = append(hashes, keyhash.Of(key(i)))
	}
	filter := buildFilter(hashes)
	wrong := 0
	for i := range 2 * n {
		perhaps := mayContain(filter, keyhash.Of(key(i)))
		if i < n && !perhaps {
			t.Fatalf("key %d is denied", i)
		}
		if i >= n && perhaps {
			wrong++
		}
	}
	if wrong > n/50 {
		t.Fatalf("%d of %d other keys pass", wrong, n)
	}
	t.Logf("%.2f %% of other keys pass", 100*float64(wrong)/n)
}

// goldenRanges are the range tombstones of a table without rows.
func goldenRanges() []rangedel.Tombstone {
	return []rangedel.Tombstone{
		{Start: []byte("a"), End: []byte("c"), Version: 300, Sequence: 9},
		{Start: []byte("a"), End: []byte("b\x00"), Version: 7, Sequence: 2},
	}
}

func TestRangeTombstonesAreWrittenAsInTheDocument(t *testing.T) {
	fs := vfs.NewMem()
	file, err := fs.Create("t")
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(file, 7, Options{BlockBytes: 1024})
	w.AddRanges(goldenRanges())
	if _, _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	got, err := vfs.ReadFile(fs, "t")
	if err != nil {
		t.Fatal(err)
	}
	if want := testkit.Golden(t, "table-ranges.hex"); !bytes.Equal(got, want) {
		t.Errorf("written as\n%x\nwant\n%x", got, want)
	}
	r, err := Open(file, "t", 7, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := r.Properties()
	if all := r.Ranges().All(); len(all) != 2 || string(all[1].End) != "b\x00" || string(p.Smallest) != "a" || string(p.Largest) != "c" || p.MaxSequence != 9 {
		t.Fatalf("%v, %+v", all, p)
	}
	c := r.NewCursor(false)
	for _, d := range []record.Direction{record.Forward, record.Backward} {
		for _, k := range []*record.Key{nil, {User: []byte("b")}} {
			if c.Seek(k, d) != nil || c.Err() != nil {
				t.Fatal("a row, or an error", c.Err())
			}
		}
	}
	if ok, err := r.Get(&record.Key{User: []byte("b")}, keyhash.Of([]byte("b")), new(record.Row)); ok || err != nil {
		t.Fatal(ok, err)
	}
}

// TestMalformedRangeTombstonesAreRefused has them out of order, empty, or longer than their block.
func TestMalformedRangeTombstonesAreRefused(t *testing.T) {
	good := appendRanges(nil, goldenRanges())
	if _, ok := parseRanges(good); !ok {
		t.Fatal("good ones are refused")
	}
	list := goldenRanges()
	list[0], list[1] = list[1], list[0]
	empty := []rangedel.Tombstone{{Start: []byte("b"), End: []byte("b"), Version: 1, Sequence: 1}}
	bad := [][]byte{appendRanges(nil, list), appendRanges(nil, empty), appendRanges(nil, nil), append(bytes.Clone(good), 0), {}}
	for n := range good {
		bad = append(bad, good[:n])
	}
	for _, b := range bad {
		if _, ok := parseRanges(b); ok {
			t.Errorf("%x is taken", b)
		}
	}
}
