package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// damagedStore makes a store on a disk, with tables in several levels.
func damagedStore(t *testing.T, seed uint64) (*vfs.Mem, *model) {
	t.Helper()
	disk := vfs.NewMem()
	db := mustOpen(t, "db", small(disk))
	h := &history{random: rand.New(rand.NewPCG(seed, 5)), keys: 100, millis: 1000}
	m := newModel()
	for i := range 120 {
		b := h.batch(m)
		m.apply(b)
		apply(t, db, func(batch *Batch) { b.fill(batch, len(m.batches)) })
		if i%50 == 49 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, db)
	return disk, m
}

func rewrite(t *testing.T, disk *vfs.Mem, name string, data []byte) {
	t.Helper()
	f, err := disk.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamageIsNamedAndNeverServed flips bits, cuts files and takes files away. Whatever is then
// read is right, or a CorruptionError; Verify, or Open, finds all of it.
func TestDamageIsNamedAndNeverServed(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	disk, m := damagedStore(t, seed)
	random := rand.New(rand.NewPCG(seed, 6))
	names, err := disk.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == lockName {
			continue
		}
		path := "db/" + name
		good, err := vfs.ReadFile(disk, path)
		if err != nil {
			t.Fatal(err)
		}
		stride := max(1, len(good)/60)
		for at := 0; at < len(good); at += 1 + random.IntN(stride) {
			bad := append([]byte(nil), good...)
			bad[at] ^= 1 << random.IntN(8)
			rewrite(t, disk, path, bad)
			expectDamage(t, fmt.Sprintf("%s, bit flipped at %d of %d", name, at, len(good)), disk, m)
		}
		rewrite(t, disk, path, good[:random.IntN(len(good))])
		expectDamage(t, name+" cut", disk, m)
		rewrite(t, disk, path, append(append([]byte(nil), good...), 0))
		expectDamage(t, name+" longer", disk, m)
		if err := disk.Remove(path); err != nil {
			t.Fatal(err)
		}
		expectDamage(t, name+" missing", disk, m)
		rewrite(t, disk, path, good)
	}
	db := mustOpen(t, "db", small(disk))
	m.checkAll(t, "repaired", db, MaxVersion)
	mustClose(t, db)
}

func expectDamage(t *testing.T, what string, disk *vfs.Mem, m *model) {
	t.Helper()
	// A copy: a compaction may change what is there.
	o := small(disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll}))
	db, err := Open("db", o)
	if err != nil {
		expectCorruption(t, what, err)
		return
	}
	defer db.Close()
	s := db.Snapshot()
	defer s.Close()
	it := s.NewIterator(IteratorOptions{})
	want := m.list(MaxVersion, m.applied.sequence, nil, nil)
	w := &walker{model: m, it: it}
	i := 0
	for ok := w.move(it.First, it.Next); ok; ok = w.move(it.Next, it.Next) {
		if i >= len(want) || !equalRow(it.Row(), want[i]) {
			t.Fatalf("%s: a wrong row was served", what)
		}
		i++
	}
	if err := it.Close(); err != nil {
		expectCorruption(t, what, err)
	} else if i != len(want) {
		t.Fatalf("%s: rows are missing and nobody said so", what)
	}
	expectCorruption(t, what, db.Verify(t.Context()))
}

func expectCorruption(t *testing.T, what string, err error) {
	t.Helper()
	var c *CorruptionError
	if !errors.As(err, &c) || !errors.Is(err, ErrCorrupt) || c.File == "" || c.Expected == "" || c.Found == "" {
		t.Fatalf("%s: %v is no CorruptionError", what, err)
	}
}

func TestStoreWithoutManifestIsNotEmpty(t *testing.T) {
	disk, _ := damagedStore(t, 1)
	if err := disk.Remove("db/" + manifest.Name); err != nil {
		t.Fatal(err)
	}
	_, err := Open("db", small(disk))
	expectCorruption(t, "no manifest", err)
	names, _ := disk.List("db")
	tables := 0
	for _, name := range names {
		if strings.HasSuffix(name, tableSuffix) {
			tables++
		}
	}
	if tables == 0 {
		t.Fatal("the refused Open removed tables")
	}
}
