package sharedlog

import (
	"errors"
	"math"
	"sync"
	"syscall"
	"testing"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/vfs"
)

// told is what OnDurable is told.
type told struct {
	through uint64
	err     error
}

// syncGate is a disk whose syncs of segments wait for a test, once it is shut.
type syncGate struct {
	vfs.FS
	mu   sync.Mutex
	shut chan struct{} // nil: open
	fail error
	// waits, of capacity 1, says that a sync waits.
	waits chan struct{}
}

func newSyncGate() *syncGate {
	g := &syncGate{waits: make(chan struct{}, 1)}
	g.FS = vfs.NewFault(vfs.NewMem(), vfs.InjectorFunc(func(op vfs.Op, _ string) error {
		if op != vfs.OpSync {
			return nil
		}
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut != nil {
			select {
			case g.waits <- struct{}{}:
			default:
			}
			<-shut
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.fail
	}))
	return g
}

func (g *syncGate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

// open lets syncs go on; they fail with err if it is not nil.
func (g *syncGate) open(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = err
	close(g.shut)
	g.shut = nil
}

func commands(first uint64, count, bytes int) []*hraft.Log {
	var list []*hraft.Log
	for i := range count {
		list = append(list, &hraft.Log{Index: first + uint64(i), Term: 2, Data: make([]byte, bytes)})
	}
	return list
}

// earlyLog is a log with a replica whose entries 1 to 3 are durable, on a disk that a test can stop.
func earlyLog(t *testing.T) (*Log, *View, *syncGate, chan told) {
	t.Helper()
	disk := newSyncGate()
	o := smallOptions(disk, 1)
	o.SegmentBytes, o.MaxBytes = 64<<20, 256<<20
	l := mustOpen(t, o)
	v := mustView(t, l, key{7, 1})
	if err := v.StoreLogs(commands(1, 3, 10)); err != nil {
		t.Fatal(err)
	}
	tell := make(chan told, 100)
	v.OnDurable(func(through uint64, err error) { tell <- told{through, err} })
	t.Cleanup(func() { _ = l.Close() })
	return l, v, disk, tell
}

func mustBeEarly(t *testing.T, v *View, entries []*hraft.Log) {
	t.Helper()
	if early, err := v.StoreEarly(entries); err != nil || !early {
		t.Fatalf("store early: %v, %v", early, err)
	}
}

// TestEarlyEntriesAreReadAtOnceAndToldOfWhenTheyAreDurable (LG7).
func TestEarlyEntriesAreReadAtOnceAndToldOfWhenTheyAreDurable(t *testing.T) {
	_, v, disk, tell := earlyLog(t)
	if d := v.Durable(); d != math.MaxUint64 {
		t.Fatalf("durable through %d before anything is early", d)
	}
	disk.close()
	mustBeEarly(t, v, commands(4, 2, 10))
	mustBeEarly(t, v, commands(6, 1, 10))
	first, _ := v.FirstIndex()
	if last, _ := v.LastIndex(); first != 1 || last != 6 {
		t.Fatalf("holds %d to %d", first, last)
	}
	for i := uint64(1); i <= 6; i++ {
		var e hraft.Log
		if err := v.GetLog(i, &e); err != nil || e.Index != i || e.Term != 2 {
			t.Fatalf("entry %d: %+v, %v", i, e, err)
		}
	}
	if err := v.GetLog(7, &hraft.Log{}); err != hraft.ErrLogNotFound {
		t.Fatal(err)
	}
	if d := v.Durable(); d != 3 || len(tell) != 0 {
		t.Fatalf("durable through %d, %d times told while the disk stands still", d, len(tell))
	}
	disk.open(nil)
	for through := uint64(0); through < 6; {
		got := <-tell
		if got.err != nil || got.through <= through {
			t.Fatalf("told %+v after %d", got, through)
		}
		if through = got.through; v.Durable() < through {
			t.Fatalf("told of %d, durable through %d", through, v.Durable())
		}
	}
	if _, err := observe(v); err != nil {
		t.Fatal(err)
	}
}

// TestOnlyWhatFollowsTheLastEntryIsEarly (LG7): what is not durable is the end of the log.
func TestOnlyWhatFollowsTheLastEntryIsEarly(t *testing.T) {
	_, v, _, _ := earlyLog(t)
	for _, first := range []uint64{3, 9, 1} {
		if early, err := v.StoreEarly(commands(first, 2, 10)); err != nil || early {
			t.Fatalf("entry %d: early %v, %v", first, early, err)
		}
		if d := v.Durable(); d != math.MaxUint64 {
			t.Fatalf("entry %d: durable through %d", first, d)
		}
	}
	for _, bad := range [][]*hraft.Log{{{Index: 0}}, {{Index: 3}, {Index: 5}}, {{Index: 3, Extensions: []byte("x")}}} {
		if early, err := v.StoreEarly(bad); err == nil || early {
			t.Fatalf("stored %+v", bad)
		}
	}
	if last, _ := v.LastIndex(); last != 2 {
		t.Fatalf("holds up to %d", last)
	}
}

// TestWhatIsWaitedForIsDurableAfterEarlyEntries (LG7): a vote is not durable without the entries before it.
func TestWhatIsWaitedForIsDurableAfterEarlyEntries(t *testing.T) {
	_, v, disk, tell := earlyLog(t)
	for name, write := range map[string]func() error{
		"term": func() error { return v.SetUint64([]byte("CurrentTerm"), 9) },
		"vote": func() error {
			return errors.Join(v.SetUint64([]byte(keyLastVoteTerm), 9), v.Set([]byte(keyLastVoteCand), []byte("a#1")))
		},
		"cut": func() error { return v.DeleteRange(1, 1) },
	} {
		last, _ := v.LastIndex()
		disk.close()
		mustBeEarly(t, v, commands(last+1, 1, 10))
		done := make(chan error, 1)
		go func() {
			err := write()
			if d := v.Durable(); d != math.MaxUint64 {
				t.Errorf("%s is durable, the log through %d only", name, d)
			}
			if len(tell) != 1 {
				t.Errorf("%s is durable, and of the entry nobody was told", name)
			}
			done <- err
		}()
		disk.open(nil)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		<-tell
	}
}

// TestAFailedSyncOfEarlyEntriesIsToldAndStays (LG3).
func TestAFailedSyncOfEarlyEntriesIsToldAndStays(t *testing.T) {
	_, v, disk, tell := earlyLog(t)
	disk.close()
	mustBeEarly(t, v, commands(4, 1, 10))
	disk.open(syscall.EIO)
	got := <-tell
	if !errors.Is(got.err, syscall.EIO) {
		t.Fatalf("told %+v", got)
	}
	disk.mu.Lock()
	disk.fail = nil // the disk says that it is well again
	disk.mu.Unlock()
	if early, err := v.StoreEarly(commands(5, 1, 10)); early || err == nil || err.Error() != got.err.Error() {
		t.Fatalf("stored after the failure: %v, %v", early, err)
	}
	if d := v.Durable(); d != 3 {
		t.Fatalf("durable through %d", d)
	}
	if err := v.Close(); err != nil || len(tell) != 0 {
		t.Fatalf("close: %v, %d times told", err, len(tell))
	}
}

// TestWhatIsNotDurableIsBounded: beyond the bound, who stores waits.
func TestWhatIsNotDurableIsBounded(t *testing.T) {
	l, v, disk, _ := earlyLog(t)
	disk.close()
	next, bytes := uint64(4), 1<<20
	for range maxEarlyBytes/bytes - 1 {
		mustBeEarly(t, v, commands(next, 1, bytes))
		if next++; next == 5 {
			<-disk.waits // the writer has taken the first entry, and takes no other
		}
	}
	waits := make(chan bool, 1)
	go func() {
		early, err := v.StoreEarly(commands(next, 1, bytes))
		waits <- err == nil && !early
	}()
	for queued := false; !queued; {
		l.mu.Lock()
		for _, r := range l.mu.queue {
			queued = queued || r.early == 0
		}
		l.mu.Unlock()
	}
	if last, _ := v.LastIndex(); last != next-1 {
		t.Fatalf("holds up to %d, %d fit", last, next-1)
	}
	disk.open(nil)
	if !<-waits {
		t.Fatal("it did not wait")
	}
	if last, _ := v.LastIndex(); last != next || v.Durable() != math.MaxUint64 {
		t.Fatalf("holds up to %d, durable through %d", last, v.Durable())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.earlyBytes != 0 {
		t.Fatalf("%d bytes count as not durable", l.mu.earlyBytes)
	}
}

// TestClosingWaitsForEarlyEntries: who opens the replica next finds nothing on its way, and nobody is told
// after Close.
func TestClosingWaitsForEarlyEntries(t *testing.T) {
	l, v, disk, tell := earlyLog(t)
	disk.close()
	mustBeEarly(t, v, commands(4, 3, 10))
	closed := make(chan error, 1)
	go func() { closed <- v.Close() }()
	disk.open(nil)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if got := <-tell; got != (told{6, nil}) || len(tell) != 0 {
		t.Fatalf("told %+v and %d more", got, len(tell))
	}
	again := mustView(t, l, key{7, 1})
	if s, err := observe(again); err != nil || s.last() != 6 || again.Durable() != math.MaxUint64 {
		t.Fatalf("holds %v, %v", s, err)
	}
	if _, err := v.StoreEarly(commands(7, 1, 10)); !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
}
