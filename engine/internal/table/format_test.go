package table

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

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

func goldenS2Rows() []record.Row {
	return []record.Row{{Key: record.Key{User: []byte("k"), Version: 1, Sequence: 1}, Kind: record.Put, Value: bytes.Repeat([]byte("ab"), 300)}}
}

func TestFormatIsThatOfTheDocument(t *testing.T) {
	fs := vfs.NewMem()
	writeTable(t, fs, "t", 7, goldenRows(), 1024)
	got, err := vfs.ReadFile(fs, "t")
	if err != nil {
		t.Fatal(err)
	}
	if want := testkit.Golden(t, "table.hex"); !bytes.Equal(got, want) {
		t.Fatalf("written as\n%x\nwant\n%x", got, want)
	}
}

// TestTablesOfTheFormatAreRead also reads a compressed block; how exactly the library compresses
// is not part of the format.
func TestTablesOfTheFormatAreRead(t *testing.T) {
	for name, rows := range map[string][]record.Row{"table.hex": goldenRows(), "table-s2.hex": goldenS2Rows()} {
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
		hashes = append(hashes, hashKey(key(i)))
	}
	filter := buildFilter(hashes)
	wrong := 0
	for i := range 2 * n {
		perhaps := mayContain(filter, hashKey(key(i)))
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
