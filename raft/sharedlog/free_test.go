package sharedlog

import (
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

func segmentFiles(t *testing.T, disk vfs.FS) int {
	t.Helper()
	names, err := disk.List("log")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, name := range names {
		if strings.HasSuffix(name, segmentSuffix) {
			count++
		}
	}
	return count
}

// TestAnIdleLogGivesBackWhatACutFreed: nothing is written after the cut, so that no rotation comes (LG6).
func TestAnIdleLogGivesBackWhatACutFreed(t *testing.T) {
	disk := vfs.NewMem()
	l := mustOpen(t, smallOptions(disk, 1))
	idle, busy := mustView(t, l, key{1, 1}), mustView(t, l, key{2, 1})
	store(t, idle, 1, 1, 2, 20)
	if err := idle.SetUint64([]byte("CurrentTerm"), 7); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(400) {
		store(t, busy, 1, i+1, i+1, 200)
	}
	if before := l.Usage(); before.Segments < 10 || before.LiveBytes < 400*200 || before.LiveBytes > before.Segments*(8<<10) {
		t.Fatalf("the log is not long: %+v", before)
	}
	if err := busy.DeleteRange(1, 400); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() bool { return l.Usage().Segments <= carryFrom }, "the log is not given back: %+v", l.Usage())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if u := l.Usage(); u.Segments > carryFrom || u.Free > maxFree || u.LiveBytes > 2000 {
		t.Errorf("after the cut the log holds %+v", u)
	}
	if n := segmentFiles(t, disk); n > carryFrom+maxFree {
		t.Errorf("after the cut there are %d files", n)
	}
	l = mustOpen(t, smallOptions(disk.CrashClone(vfs.CrashOptions{}), 2))
	defer l.Close()
	v := mustView(t, l, key{1, 1})
	holds(t, v, 1, 2, constant(1))
	if term, err := v.GetUint64([]byte("CurrentTerm")); err != nil || term != 7 {
		t.Fatalf("term %d, %v", term, err)
	}
	holds(t, mustView(t, l, key{2, 1}), 0, 0, nil)
}

// TestADroppedReplicaGivesBackItsSpace without a write of anybody else.
func TestADroppedReplicaGivesBackItsSpace(t *testing.T) {
	disk := vfs.NewMem()
	l := mustOpen(t, smallOptions(disk, 1))
	gone := mustView(t, l, key{2, 1})
	for i := range uint64(400) {
		store(t, gone, 1, i+1, i+1, 200)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Drop(2, 1); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() bool { return l.Usage().Segments <= carryFrom }, "the log is not given back: %+v", l.Usage())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := segmentFiles(t, disk); n > carryFrom+maxFree {
		t.Errorf("%d files are left of a replica that was dropped", n)
	}
}

// TestADamagedEntryDoesNotKeepTheWriterBusy: what cannot be carried stays, and the writer goes to sleep.
func TestADamagedEntryDoesNotKeepTheWriterBusy(t *testing.T) {
	disk := vfs.NewMem()
	l := mustOpen(t, smallOptions(disk, 1))
	idle, busy := mustView(t, l, key{1, 1}), mustView(t, l, key{2, 1})
	store(t, idle, 1, 1, 1, 20)
	l.mu.Lock()
	at, _ := l.mu.groups[key{1, 1}].locationLocked(1)
	l.mu.Unlock()
	name := l.find(at.segment).name
	f, err := disk.Update("log/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), int64(at.offset)+headerBytes); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(400) {
		store(t, busy, 1, i+1, i+1, 200)
	}
	if err := busy.DeleteRange(1, 400); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // would not return
		t.Fatal(err)
	}
	if u := l.Usage(); u.Segments < 10 {
		t.Errorf("the segment of a damaged entry was given free: %+v", u)
	}
}

// TestTheTailOfALogIsCountedInBytes, through overwriting, cutting and opening again.
func TestTheTailOfALogIsCountedInBytes(t *testing.T) {
	disk := vfs.NewMem()
	l := mustOpen(t, smallOptions(disk, 1))
	v := mustView(t, l, key{2, 1})
	check := func(bytes int64, tail, start uint64) {
		t.Helper()
		if got := v.EntryBytes(); got != bytes {
			t.Errorf("the entries take %d bytes, want %d", got, bytes)
		}
		if got := v.TailStart(int64(tail)); got != start {
			t.Errorf("the last %d bytes begin at %d, want %d", tail, got, start)
		}
	}
	check(0, 100, 0)
	one := recordBytes(100)
	store(t, v, 1, 1, 20, 100)
	check(20*one, uint64(5*one), 16)
	check(20*one, uint64(5*one-1), 17)
	check(20*one, uint64(one-1), 21)
	check(20*one, uint64(100*one), 1)
	store(t, v, 2, 15, 16, 100)
	check(16*one, uint64(5*one), 12)
	if err := v.DeleteRange(1, 10); err != nil {
		t.Fatal(err)
	}
	check(6*one, uint64(5*one), 12)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, smallOptions(disk, 2))
	defer l.Close()
	v = mustView(t, l, key{2, 1})
	check(6*one, uint64(5*one), 12)
}
