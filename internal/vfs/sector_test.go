package vfs

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

func writeAt(t *testing.T, f UpdatedFile, off int64, s string) {
	t.Helper()
	if n, err := f.WriteAt([]byte(s), off); n != len(s) || err != nil {
		t.Fatalf("write at %d: %d, %v", off, n, err)
	}
}

// newUpdated is a synced file of size bytes "o", open for writes in place.
func newUpdated(t *testing.T, m *Mem, size int) UpdatedFile {
	t.Helper()
	putSynced(t, m, "a", strings.Repeat("o", size))
	ok(t, m.SyncDir("."))
	return must(m.Update("a"))(t)
}

// TestACrashLeavesEachOverwrittenSectorOldNewOrTorn (D5).
func TestACrashLeavesEachOverwrittenSectorOldNewOrTorn(t *testing.T) {
	r := testkit.Rand(t)
	m := NewMem()
	f := newUpdated(t, m, 4*sectorBytes)
	writeAt(t, f, 100, strings.Repeat("n", 3*sectorBytes))
	old, all := 0, 0
	seen := map[string]int{}
	for range 400 {
		b := must(ReadFile(m.CrashClone(CrashOptions{KeepUnsynced: KeepRandom, Rand: r}), "a"))(t)
		if len(b) != 4*sectorBytes || bytes.Count(b[:100], []byte("o")) != 100 || bytes.Count(b[100+3*sectorBytes:], []byte("o")) != sectorBytes-100 {
			t.Fatalf("bytes that were not written changed: %q", b)
		}
		for n := range 2 { // sectors 1 and 2 were written whole
			s := b[(n+1)*sectorBytes : (n+2)*sectorBytes]
			switch count := bytes.Count(s, []byte("n")); {
			case count == 0:
				seen["old"]++
			case count == sectorBytes:
				seen["new"]++
			case bytes.Count(s, []byte("no"))+bytes.Count(s, []byte("on")) == 1:
				seen["torn"]++
			default:
				t.Fatalf("a sector holds neither of both, nor one beginning and the other end: %q", s)
			}
		}
		switch bytes.Count(b, []byte("n")) {
		case 0:
			old++
		case 3 * sectorBytes:
			all++
		}
	}
	if seen["old"] == 0 || seen["new"] == 0 || seen["torn"] == 0 || old == 0 || all == 0 {
		t.Errorf("sectors %v, wholly old %d, wholly new %d: want some of each", seen, old, all)
	}
	wantFile(t, m.CrashClone(CrashOptions{}), "a", strings.Repeat("o", 4*sectorBytes))
	ok(t, f.SyncData())
	want := string(must(ReadFile(m, "a"))(t))
	wantFile(t, m.CrashClone(CrashOptions{}), "a", want)
	wantFile(t, m.CrashClone(CrashOptions{KeepUnsynced: KeepRandom, Rand: r}), "a", want)
}

// TestAFailedSyncLosesWhatWasWrittenInPlace (D3): a sync that succeeds later brings nothing back,
// unless the bytes were written once more.
func TestAFailedSyncLosesWhatWasWrittenInPlace(t *testing.T) {
	m := NewMem()
	putSynced(t, m, "a", strings.Repeat("o", sectorBytes))
	ok(t, m.SyncDir("."))
	f := must(NewFault(m, NewRules(Rule{Ops: OpSync, Err: syscall.EIO})).Update("a"))(t)
	writeAt(t, f, 0, "n")
	writeAt(t, f, sectorBytes, "tail")
	wantError(t, f.SyncData(), syscall.EIO, "first sync")
	ok(t, f.SyncData())
	wantAfter := func(want string) {
		t.Helper()
		wantFile(t, m.CrashClone(CrashOptions{}), "a", want)
	}
	wantAfter(strings.Repeat("o", sectorBytes) + "\x00\x00\x00\x00")
	writeAt(t, f, 0, "N")
	wantAfter(strings.Repeat("o", sectorBytes) + "\x00\x00\x00\x00")
	ok(t, f.SyncData())
	wantAfter("N" + strings.Repeat("o", sectorBytes-1) + "\x00\x00\x00\x00")
}

// TestClonesOfAFileWrittenInPlaceAreIndependent (D4).
func TestClonesOfAFileWrittenInPlaceAreIndependent(t *testing.T) {
	m := NewMem()
	f := newUpdated(t, m, 3)
	clone := m.CrashClone(CrashOptions{})
	writeAt(t, f, 0, "m")
	g := must(clone.Update("a"))(t)
	writeAt(t, g, 1, "c")
	second := clone.CrashClone(CrashOptions{KeepUnsynced: KeepAll})
	writeAt(t, g, 2, "c")
	wantFile(t, m, "a", "moo")
	wantFile(t, clone, "a", "occ")
	wantFile(t, second, "a", "oco")
}
