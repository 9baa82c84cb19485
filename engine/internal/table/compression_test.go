package table

import (
	"bytes"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestNoBlockGetsLarger writes what cannot be compressed and what can, in all ways.
func TestNoBlockGetsLarger(t *testing.T) {
	text := bytes.Repeat([]byte("what is said again and again takes little room. "), 170)
	for mode := None; mode <= Zstd; mode++ {
		c := &compressor{mode: mode}
		for name, raw := range map[string][]byte{"random": random(8 << 10), "text": text, "one byte": {7}, "empty": {}} {
			for range 2 * sampleEvery {
				packed, kind := c.compress([]byte("before"), raw)
				if packed = packed[len("before"):]; len(packed) > len(raw) || kind == typePlain && !bytes.Equal(packed, raw) {
					t.Fatalf("mode %d, %s: %d bytes became %d of type %d", mode, name, len(raw), len(packed), kind)
				}
				if kind != typePlain && (announced(packed, kind) != len(raw) || !worth(len(packed), len(raw))) {
					t.Fatalf("mode %d, %s: type %d announces %d bytes of %d", mode, name, kind, announced(packed, kind), len(raw))
				}
				got := make([]byte, len(raw))
				if kind != typePlain && (!unpack(got, packed, kind) || !bytes.Equal(got, raw)) {
					t.Fatalf("mode %d, %s: other bytes come back", mode, name)
				}
			}
		}
	}
}

// TestRandomBytesAreSoonLeftAlone counts the blocks that are tried, and wants text noticed again.
func TestRandomBytesAreSoonLeftAlone(t *testing.T) {
	noise, text := random(8<<10), bytes.Repeat([]byte("abcdefgh"), 1<<10)
	c := &compressor{mode: S2}
	tried := 0
	for range 200 {
		vain := c.vain
		c.compress(nil, noise)
		tried += c.vain - vain
	}
	if tried > 30 {
		t.Fatalf("%d of 200 blocks were tried", tried)
	}
	for n := range maxRest + 2 {
		if _, kind := c.compress(nil, text); kind == typeS2 {
			return
		} else if n > maxRest {
			t.Fatal("text is not tried again")
		}
	}
}

// TestTheDenserWayIsTakenWhereItSavesMuch has S2 for values that are half random, and Zstd for text.
func TestTheDenserWayIsTakenWhereItSavesMuch(t *testing.T) {
	for name, want := range map[string]struct {
		rows []record.Row
		kind byte
	}{"half random": {benchRows(500), typeS2}, "documents": {documents()[:500], typeZstd}} {
		fs := vfs.NewMem()
		writeTableWith(t, fs, "t", 7, want.rows, Options{BlockBytes: 8 << 10, Compression: Dense})
		table, err := openTable(fs, "t", 7, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range table.index.count - 1 {
			end := table.index.handle(i).end()
			var kind [1]byte
			if err := table.source.readAt(kind[:], int64(end)-frameBytes); err != nil || kind[0] != want.kind {
				t.Fatalf("%s: block %d has type %d, want %d: %v", name, i, kind[0], want.kind, err)
			}
		}
		table.Close()
	}
}
