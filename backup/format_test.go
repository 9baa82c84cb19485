package backup

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/router"
)

var rewrite = flag.Bool("rewrite", false, "write the goldens again")

// TestABackupHasItsBytes compares a backup of two rows with its golden; packing is zstd's own and is not in it.
func TestABackupHasItsBytes(t *testing.T) {
	source := func(_ context.Context, _ api.Slot, to Sink) (uint64, uint64, error) {
		rows := record.Record{Kind: record.Row, ExpiryMillis: 300, Key: []byte("a"), Value: []byte("1")}
		block := rows.Append(nil)
		rows = record.Record{Kind: record.Row, Key: []byte("b"), Value: nil}
		if err := to.Begin(Cut{Shard: 3, Arc: router.Arc{End: api.SlotCount}, Epoch: 2, Index: 77, TimeMillis: 88}); err != nil {
			return 0, 0, err
		}
		return 2, 3, to.Block(rows.Append(block))
	}
	fsys := vfs.NewMem()
	if _, err := Write(t.Context(), fsys, "b", source, options); err != nil {
		t.Fatal(err)
	}
	files := contents(t, fsys)
	rows := files["shard-000003.rows"]
	cut := func(n int) string {
		part := rows[:n]
		rows = rows[n:]
		return hex.EncodeToString(part) + "\n"
	}
	got := "# header: magic, backup id, shard, checksum\n" + cut(fileHeaderBytes) +
		"# block header: kind, offset, raw length, stored length, checksum\n" + cut(blockHeaderBytes) +
		"# two records\n" + cut(14) +
		"# end: block header; rows and bytes\n" + cut(blockHeaderBytes) + cut(endBytes) +
		"# MANIFEST\n" + string(files[ManifestName])
	if len(rows) != 0 {
		t.Errorf("%x is behind the end", rows)
	}
	const golden = "testdata/format/backup.txt"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v, got\n%s", err, got)
	}
}

func FuzzDecodeManifest(f *testing.F) {
	m := Manifest{Format: 1, ID: strings.Repeat("01", idBytes), Count: 1, Shards: []Shard{{Shard: 1, File: fileName(1), End: api.SlotCount}}}
	f.Add(m.encode())
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := decodeManifest(text); err == nil && !bytes.Equal(m.encode(), text) {
			t.Fatalf("%q is another form of a manifest", text)
		}
	})
}
