package shard

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestADamagedTableIsNotCopiedIntoACheckpoint, which another replica would take for the truth.
func TestADamagedTableIsNotCopiedIntoACheckpoint(t *testing.T) {
	b := configuredBench(t)
	for i := range 200 {
		b.must(put(fmt.Sprint("k", i), strings.Repeat("v", 100)))
	}
	if err := b.m.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.m.Checkpoint("/data/whole"); err != nil {
		t.Fatal(err)
	}
	names, err := b.fs.List("/data/whole")
	if err != nil {
		t.Fatal(err)
	}
	largest, size := "", 0
	for _, name := range names {
		content, err := vfs.ReadFile(b.fs, "/data/whole/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if len(content) > size {
			largest, size = name, len(content)
		}
	}
	f, err := b.fs.Update("/data/shards/7/engine-000001/" + largest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff, 0x00, 0xff}, int64(size/3)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.m.Checkpoint("/data/damaged"); !errors.Is(err, engine.ErrCorrupt) {
		t.Fatalf("checkpoint of a damaged table: %v", err)
	}
}
