package sharedlog

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

func entries(term, first, last uint64, size int) []*hraft.Log {
	var out []*hraft.Log
	for i := first; i <= last; i++ {
		out = append(out, &hraft.Log{Index: i, Term: term, Type: hraft.LogCommand, Data: []byte(strings.Repeat(fmt.Sprint(i%10), size))})
	}
	return out
}

func store(t testing.TB, v *View, term, first, last uint64, size int) {
	t.Helper()
	if err := v.StoreLogs(entries(term, first, last, size)); err != nil {
		t.Fatal(err)
	}
}

// holds fails unless the log holds exactly first to last with the terms that term gives.
func holds(t *testing.T, v *View, first, last uint64, term func(uint64) uint64) {
	t.Helper()
	s, err := observe(v)
	if err != nil {
		t.Fatal(err)
	}
	if last == 0 && len(s.entries) == 0 {
		return
	}
	if s.first != first || s.last() != last {
		t.Fatalf("holds %d to %d, want %d to %d", s.first, s.last(), first, last)
	}
	for _, e := range s.entries {
		if e.Term != term(e.Index) {
			t.Fatalf("entry %d is of term %d, want %d", e.Index, e.Term, term(e.Index))
		}
	}
}

func constant(term uint64) func(uint64) uint64 { return func(uint64) uint64 { return term } }

func TestOverwritingReplacesTheSuffixAndAGapDropsThePrefix(t *testing.T) {
	disk := vfs.NewMem()
	l := mustOpen(t, smallOptions(disk, 1))
	v := mustView(t, l, key{1, 1})
	holds(t, v, 0, 0, nil)
	store(t, v, 1, 1, 10, 5)
	store(t, v, 2, 6, 7, 5)
	mixed := func(i uint64) uint64 {
		if i < 6 {
			return 1
		}
		return 2
	}
	holds(t, v, 1, 7, mixed)
	if err := v.DeleteRange(1, 3); err != nil {
		t.Fatal(err)
	}
	holds(t, v, 4, 7, mixed)
	store(t, v, 5, 20, 22, 5)
	holds(t, v, 20, 22, constant(5))
	store(t, v, 6, 15, 16, 5)
	holds(t, v, 15, 16, constant(6))
	if err := errors.Join(v.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, smallOptions(disk, 2))
	defer l.Close()
	holds(t, mustView(t, l, key{1, 1}), 15, 16, constant(6))
}

func TestWhatTheContractRefusesIsRefusedAndHarmsNothing(t *testing.T) {
	l := mustOpen(t, smallOptions(vfs.NewMem(), 1))
	defer l.Close()
	v := mustView(t, l, key{1, 1})
	store(t, v, 1, 1, 10, 5)
	for name, call := range map[string]func() error{
		"a hole":         func() error { return v.DeleteRange(3, 5) },
		"a jump":         func() error { return v.StoreLogs([]*hraft.Log{{Index: 11}, {Index: 13}}) },
		"index 0":        func() error { return v.StoreLog(&hraft.Log{}) },
		"extensions":     func() error { return v.StoreLog(&hraft.Log{Index: 11, Extensions: []byte("x")}) },
		"a large entry":  func() error { return v.StoreLog(&hraft.Log{Index: 11, Data: make([]byte, 8<<10)}) },
		"a large value":  func() error { return v.Set([]byte("x"), make([]byte, 4<<10)) },
		"no key":         func() error { return v.Set(nil, []byte("x")) },
		"a second view":  func() error { _, err := l.View(1, 1); return err },
		"dropping it":    func() error { return l.Drop(1, 1) },
		"a bad vote":     func() error { _, err := v.GetUint64([]byte(keyLastVoteTerm)); return err },
		"a missing key":  func() error { _, err := v.Get([]byte("CurrentTerm")); return err },
		"a missing vote": func() error { _, err := v.Get([]byte(keyLastVoteCand)); return err },
	} {
		if err := call(); err == nil {
			t.Errorf("%s is not refused", name)
		}
	}
	for _, nothing := range []func() error{
		func() error { return v.DeleteRange(11, 20) },
		func() error { return v.DeleteRange(5, 4) },
		func() error { return v.StoreLogs(nil) },
	} {
		if err := nothing(); err != nil {
			t.Error(err)
		}
	}
	holds(t, v, 1, 10, constant(1))
	store(t, v, 1, 11, 12, 3000)
	holds(t, v, 1, 12, constant(1))
	if err := v.DeleteRange(1, 12); err != nil {
		t.Fatal(err)
	}
	holds(t, v, 0, 0, nil)
}

func TestAClosedLogAndAClosedViewSaySo(t *testing.T) {
	l := mustOpen(t, smallOptions(vfs.NewMem(), 1))
	v, other := mustView(t, l, key{1, 1}), mustView(t, l, key{2, 1})
	store(t, v, 1, 1, 20, 300)
	if err := errors.Join(v.Close(), v.Close()); err != nil {
		t.Fatal(err)
	}
	again := mustView(t, l, key{1, 1})
	holds(t, again, 1, 20, constant(1))
	calls := func(v *View) map[string]error {
		_, get := v.Get([]byte("x"))
		return map[string]error{
			"store": v.StoreLogs(entries(1, 1, 1, 1)), "delete": v.DeleteRange(1, 1), "set": v.Set([]byte("x"), nil),
			"number": v.SetUint64([]byte("x"), 1), "get": get, "read": v.GetLog(1, new(hraft.Log)),
		}
	}
	for name, err := range calls(v) {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s on a closed view: %v", name, err)
		}
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	for name, err := range calls(again) {
		if name != "get" && !errors.Is(err, fs.ErrClosed) { // what is in memory may still be read
			t.Errorf("%s on a closed log: %v", name, err)
		}
	}
	if _, err := l.View(3, 1); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("view of a closed log: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// TestADroppedReplicaDoesNotComeBack drops one of two incarnations, also over restarts and after
// the segment of the drop was given free.
func TestADroppedReplicaDoesNotComeBack(t *testing.T) {
	disk := vfs.NewMem()
	l := mustOpen(t, smallOptions(disk, 1))
	for incarnation := range uint64(3) {
		v := mustView(t, l, key{5, incarnation + 1})
		store(t, v, 1, 1, 3, 50)
		if err := errors.Join(v.SetUint64([]byte("CurrentTerm"), incarnation), v.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.Drop(5, 2), l.Drop(5, 1), l.Drop(6, 9)); err != nil {
		t.Fatal(err)
	}
	busy := mustView(t, l, key{7, 1})
	for round := range uint64(3) {
		for i := range uint64(200) {
			store(t, busy, 1, round*200+i+1, round*200+i+1, 300)
			if err := busy.DeleteRange(1, round*200+i); err != nil {
				t.Fatal(err)
			}
		}
		for k, want := range map[key]error{{5, 1}: ErrDropped, {5, 2}: ErrDropped, {6, 9}: ErrDropped, {6, 3}: ErrDropped, {5, 3}: nil} {
			v, err := l.View(k.group, k.incarnation)
			if !errors.Is(err, want) {
				t.Fatalf("round %d: %s: %v, want %v", round, k, err, want)
			}
			if err == nil {
				holds(t, v, 1, 3, constant(1))
				if err := v.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, smallOptions(disk, int64(round)+2))
		busy = mustView(t, l, key{7, 1})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestIdleReplicasPinNothing: a few old entries and votes of many replicas do not keep the log
// from being bounded by what the busy one needs (LG6).
func TestIdleReplicasPinNothing(t *testing.T) {
	disk := vfs.NewMem()
	o := smallOptions(disk, 1)
	o.SegmentBytes, o.MaxBytes = 32<<10, 256<<10
	l := mustOpen(t, o)
	const idle = 8
	for id := range uint64(idle) {
		v := mustView(t, l, key{id + 1, 1})
		store(t, v, 1, 1, 2, 20)
		if err := v.SetUint64([]byte("CurrentTerm"), id); err != nil {
			t.Fatal(err)
		}
	}
	busy := mustView(t, l, key{99, 1})
	for i := range uint64(2000) {
		store(t, busy, 1, i+1, i+1, 200)
		if i%10 == 9 {
			if err := busy.DeleteRange(1, i-5); err != nil {
				t.Fatal(err)
			}
		}
	}
	if names, err := disk.List("log"); err != nil || len(names) > 8 {
		t.Fatalf("%d files, %v: the log is not bounded", len(names), err)
	}
	if _, ok := l.Pinned(); ok {
		t.Error("a log within its limit is said to be pinned")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, smallOptions(disk.CrashClone(vfs.CrashOptions{}), 2))
	defer l.Close()
	for id := range uint64(idle) {
		v := mustView(t, l, key{id + 1, 1})
		holds(t, v, 1, 2, constant(1))
		if term, err := v.GetUint64([]byte("CurrentTerm")); err != nil || term != id {
			t.Fatalf("term %d, %v, want %d", term, err, id)
		}
	}
}

// TestWhoPinsTheLogIsNamed lets two replicas write beyond the limit: each is named in turn, cuts as
// far as it was told, and the log is within its limit again.
func TestWhoPinsTheLogIsNamed(t *testing.T) {
	o := smallOptions(vfs.NewMem(), 1)
	full := make(chan struct{}, 1)
	o.OnFull = func() {
		select {
		case full <- struct{}{}:
		default:
		}
	}
	l := mustOpen(t, o)
	defer l.Close()
	views := map[uint64]*View{1: mustView(t, l, key{1, 1}), 2: mustView(t, l, key{2, 1})}
	next := uint64(1)
	for len(full) == 0 {
		if next > 1000 {
			t.Fatal("nobody was told")
		}
		store(t, views[1], 1, next, next, 300)
		store(t, views[2], 1, next, next, 100)
		next++
	}
	if p, ok := l.Pinned(); !ok || p.Group != 1 || p.Through == 0 || p.Bytes == 0 {
		t.Fatalf("pinned by %+v, %v, want group 1", p, ok)
	}
	named := make(map[uint64]bool)
	for l.Size() > o.MaxBytes {
		if p, ok := l.Pinned(); ok {
			named[p.Group] = true
			if err := views[p.Group].DeleteRange(1, p.Through); err != nil {
				t.Fatal(err)
			}
		}
		store(t, views[1], 1, next, next, 300) // the writer looks again
		next++
		if next > 1000 {
			t.Fatalf("the log of %d bytes is above its limit for ever", l.Size())
		}
	}
	if len(named) != 2 {
		t.Errorf("named %v, want both", named)
	}
	if _, ok := l.Pinned(); ok {
		t.Error("still pinned")
	}
}

// TestAReplicaThatNobodyRunsDoesNotFillTheDisk: nobody makes its state durable and cuts its log, so
// that it is carried along, however much it is, as long as that ends (LG6).
func TestAReplicaThatNobodyRunsDoesNotFillTheDisk(t *testing.T) {
	disk := vfs.NewMem()
	o := smallOptions(disk, 1)
	o.SegmentBytes, o.MaxBytes = 32<<10, 256<<10
	l := mustOpen(t, o)
	left := mustView(t, l, key{1, 1})
	store(t, left, 1, 1, 400, 150)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	busy := mustView(t, l, key{2, 1})
	for i := range uint64(3000) {
		store(t, busy, 1, i+1, i+1, 200)
		if i%10 == 9 {
			if err := busy.DeleteRange(1, i-5); err != nil {
				t.Fatal(err)
			}
		}
		if l.Size() > 2*o.MaxBytes {
			t.Fatalf("after %d writes the log has %d bytes", i, l.Size())
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, smallOptions(disk.CrashClone(vfs.CrashOptions{}), 2))
	defer l.Close()
	holds(t, mustView(t, l, key{1, 1}), 1, 400, constant(1))
	holds(t, mustView(t, l, key{2, 1}), 2995, 3000, constant(1))
}

// TestTheNewestEntriesAreReadFromMemory: in the steady state, where readers are near the end, the
// disk is not read; and the memory of all replicas together is bounded.
func TestTheNewestEntriesAreReadFromMemory(t *testing.T) {
	rules := vfs.NewRules()
	o := smallOptions(vfs.NewFault(vfs.NewMem(), rules), 1)
	o.CacheBytes = 20 << 10
	l := mustOpen(t, o)
	defer l.Close()
	rules.Set(vfs.Rule{Ops: vfs.OpRead})
	views := []*View{mustView(t, l, key{1, 1}), mustView(t, l, key{2, 1})}
	var e hraft.Log
	for i := range uint64(500) {
		for _, v := range views {
			store(t, v, 1, i+1, i+1, 200)
			for back := range min(i, 20) {
				if err := v.GetLog(i+1-back, &e); err != nil || e.Index != i+1-back {
					t.Fatal(err)
				}
			}
		}
	}
	if n := rules.Count(0); n > 0 {
		t.Errorf("the disk was read %d times", n)
	}
	total := 0
	for _, v := range views {
		total += cacheBytesOf(v.group.cached)
		if err := v.GetLog(1, &e); err != nil || e.Index != 1 {
			t.Fatal(err)
		}
	}
	if total > o.CacheBytes {
		t.Errorf("%d bytes are in memory, at most %d", total, o.CacheBytes)
	}
	if rules.Count(0) == 0 {
		t.Error("what was read from disk was counted nowhere")
	}
}

// TestWritesOfManyReplicasShareSyncs holds a sync back while others queue: they need one more.
func TestWritesOfManyReplicasShareSyncs(t *testing.T) {
	disk := vfs.NewMem()
	o := smallOptions(disk, 1)
	o.SegmentBytes, o.MaxBytes = 1<<20, 4<<20
	l := mustOpen(t, o)
	defer l.Close()
	var views []*View
	for id := range uint64(32) {
		views = append(views, mustView(t, l, key{id + 1, 1}))
	}
	holding, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var mu sync.Mutex
	syncs, writes := 0, 0
	disk.OnCall(func(op vfs.Op, _ string) {
		mu.Lock()
		if op == vfs.OpSync {
			syncs++
		}
		if op == vfs.OpWrite {
			writes++
		}
		mu.Unlock()
		if op == vfs.OpSync {
			once.Do(func() { close(holding); <-release })
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() { store(t, views[0], 1, 1, 1, 10) })
	<-holding
	for _, v := range views[1:] {
		wg.Go(func() { store(t, v, 1, 1, 1, 10) })
	}
	testkit.Eventually(t, 20*time.Second, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.mu.queue) == len(views)-1
	}, "not everything is queued")
	close(release)
	wg.Wait()
	disk.OnCall(nil)
	if syncs != 2 || writes != 2 {
		t.Errorf("%d writes took %d syncs and %d writes of the file, want 2 and 2", len(views), syncs, writes)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"no directory":     {FS: vfs.NewMem()},
		"no file system":   {Dir: "log"},
		"small segments":   {Dir: "log", FS: vfs.NewMem(), SegmentBytes: 4 << 10},
		"large segments":   {Dir: "log", FS: vfs.NewMem(), SegmentBytes: 2 << 30},
		"a limit too near": {Dir: "log", FS: vfs.NewMem(), SegmentBytes: 1 << 20, MaxBytes: 1 << 20},
	} {
		o.Entropy = entropy.System()
		if l, err := Open(o); err == nil {
			t.Errorf("%s: opened %v", name, l)
		}
	}
}

// BenchmarkAppend compares the log with as many writers as there are groups; each append is
// durable. package boltlog has the same benchmark.
func BenchmarkAppend(b *testing.B) {
	for _, groups := range []int{1, 3, 8, 32} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			l := mustOpen(b, Options{Dir: b.TempDir(), FS: vfs.OS(), Entropy: entropy.System()})
			defer l.Close()
			data := make([]byte, 4<<10)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for id := range groups {
				v := mustView(b, l, key{uint64(id + 1), 1})
				wg.Go(func() {
					for i := range uint64(b.N / groups) {
						if err := v.StoreLogs([]*hraft.Log{{Index: i + 1, Term: 1, Data: data}}); err != nil {
							b.Error(err)
							return
						}
						if i%64 == 63 {
							if err := v.DeleteRange(1, i-32); err != nil {
								b.Error(err)
								return
							}
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
