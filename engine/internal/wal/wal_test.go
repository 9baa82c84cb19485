package wal

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	rows "github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// batchOf makes a batch of one row with a value of some length.
func batchOf(number uint64, valueBytes int) *Batch {
	value := bytes.Repeat([]byte{byte(number)}, valueBytes)
	return &Batch{
		Number: number, Sequence: number, HasPosition: true, Index: number, Term: 1,
		Refs: []memtable.Ref{{Version: number}},
		Rows: memtable.AppendRow(nil, rows.Put, fmt.Appendf(nil, "key%d", number), value, 0),
	}
}

func newLog(t testing.TB, fs vfs.FS, mode Mode, segmentBytes int64) *Log {
	t.Helper()
	if err := fs.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	l, err := Create(Options{
		FS: fs, Dir: "d", Entropy: entropy.System(), Mode: mode, SegmentBytes: segmentBytes, Done: func(any, bool) {},
	}, &Replayed{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t testing.TB, l *Log, b *Batch) {
	t.Helper()
	var w Waiter
	if err := l.Reserve(b); err != nil {
		t.Fatal(err)
	}
	l.Append(b, b)
	if err := l.Commit(b.Number, &w); err != nil {
		t.Fatal(err)
	}
}

// replayed gives the batches that a log has behind start.
func replayed(fs vfs.FS, start Start) (list []*Batch, r *Replayed, err error) {
	start.Used = true
	r, err = Replay(fs, "d", start, func(b *Batch) error {
		list = append(list, b)
		return nil
	})
	return list, r, err
}

func example() *Batch {
	b := &Batch{
		Number: 700, Sequence: 70000, HasPosition: true, Index: 12345, Term: 3, HorizonVersion: 4, HorizonExpiry: 5,
		Refs: []memtable.Ref{{Version: 9}, {Version: 300}},
	}
	b.Rows = memtable.AppendRow(nil, rows.Put, []byte("key"), []byte("value"), 77)
	b.Refs[1].Offset = len(b.Rows)
	b.Rows = memtable.AppendRow(b.Rows, rows.Delete, []byte("k"), nil, 0)
	return b
}

func TestFormatIsThatOfTheDocument(t *testing.T) {
	h := header{ordered: true, number: 5, first: 700, id: identity{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}
	same := h
	same.ordered, same.first = false, 701
	small := &Batch{Number: 701, Sequence: 70002, Refs: []memtable.Ref{{Version: 301}}, Rows: memtable.AppendRow(nil, rows.Put, []byte("a"), []byte("b"), 0)}
	got := append(h.encode(), same.encode()...)
	records := finish(example().appendTo(appendHeader(nil, kindBatch, 700)), 0)
	start := len(records)
	records = finish(small.appendTo(appendHeader(records, kindBatch, 701)), start)
	start = len(records)
	records = finish(appendHeader(records, kindSeal, 6), start)
	h.id.stamp(records, 5000, 4096)
	want := testkit.Golden(t, "segment.hex")
	if got = append(got, records...); !bytes.Equal(got, want) {
		t.Fatalf("encodes as\n%x\nwant\n%x", got, want)
	}
	if found, err := decodeHeader("x", want); err != nil || found != h {
		t.Fatalf("header decodes as %+v, %v", found, err)
	}
	b := append(make([]byte, 5000), records...)
	r, ok := h.id.decode(b, 5000)
	batch, well := decodeBatch(r.number, r.payload)
	if !ok || !well || r.durable != 4096 || !reflect.DeepEqual(batch, example()) {
		t.Fatalf("record decodes as %+v, %+v", r, batch)
	}
}

func TestWhatIsCommittedIsReplayedInOrderAcrossSegments(t *testing.T) {
	for _, mode := range []Mode{Always, Interval, Never} {
		fs := vfs.NewMem()
		l := newLog(t, fs, mode, 64<<10)
		for n := uint64(1); n <= 300; n++ {
			put(t, l, batchOf(n, int(n*37%2000)))
		}
		put(t, l, batchOf(301, 200_000)) // longer than a segment
		put(t, l, batchOf(302, 10))
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := l.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, r, err := replayed(fs.CrashClone(vfs.CrashOptions{}), Start{Segment: 1, Batch: 100})
		if err != nil || len(list) != 202 || r.Cut != nil {
			t.Fatalf("mode %d: %d batches, %v, %+v", mode, len(list), err, r)
		}
		for i, b := range list {
			if want := batchOf(uint64(101+i), len(b.Rows)); b.Number != want.Number || b.Index != want.Index || !bytes.HasPrefix(b.Rows[1:], fmt.Appendf(nil, "key%d", b.Number)) {
				t.Fatalf("mode %d: batch %d is %d", mode, i, b.Number)
			}
		}
		if m := l.Metrics(); m.Segments < 5 {
			t.Fatalf("mode %d: %+v", mode, m)
		}
		if err := l.Close(true); err != nil {
			t.Fatal(err)
		}
		if names, _ := fs.List("d"); len(names) > 0 {
			t.Fatalf("mode %d: %v are left", mode, names)
		}
	}
}

// TestAFileThatIsUsedAgainShowsNothingOfItsFormerLife fills files with equal records over and over, and crashes (WL2).
func TestAFileThatIsUsedAgainShowsNothingOfItsFormerLife(t *testing.T) {
	r := testkit.Rand(t)
	fs := vfs.NewMem()
	l := newLog(t, fs, Always, 64<<10)
	n, oldest := uint64(0), uint64(1)
	for range 40 {
		for range 1 + r.IntN(60) {
			n++
			put(t, l, batchOf(n, 500))
		}
		clone := fs.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.Keep(r.IntN(3)), Rand: r})
		list, found, err := replayed(clone, Start{Segment: oldest, Batch: n - 1})
		if err != nil || len(list) != 1 || list[0].Number != n || found.Cut != nil {
			t.Fatalf("%d batches of %d, %v, %+v", len(list), n, err, found)
		}
		oldest = l.Oldest(n)
		if err := l.Release(oldest); err != nil {
			t.Fatal(err)
		}
	}
	if m := l.Metrics(); m.Reused < 5 || m.Segments != 1 {
		t.Fatalf("%+v", m)
	}
	if names, _ := fs.List("d"); len(names) > 1+maxFree {
		t.Fatalf("files %v", names)
	}
	if err := l.Close(false); err != nil {
		t.Fatal(err)
	}
}

// TestDamageIsToldFromATornEnd flips every byte of a log of three turns: the last one may have been torn, the others not (WL3).
func TestDamageIsToldFromATornEnd(t *testing.T) {
	fs := vfs.NewMem()
	l := newLog(t, fs, Always, 64<<10)
	for n := uint64(1); n <= 3; n++ {
		put(t, l, batchOf(n, 20))
	}
	b, err := vfs.ReadFile(fs, "d/000001.log")
	if err != nil {
		t.Fatal(err)
	}
	last := recordBytes(len(batchOf(3, 20).appendTo(nil)))
	end := int64(dataStart) + 3*last
	damaged, cut := 0, 0
	for at := range end {
		if at >= segmentHeaderBytes && at < dataStart {
			continue // the rest of the page
		}
		bad := vfs.NewMem()
		list, r, err := replayed(withFile(t, bad, flipped(b, at)), Start{Segment: 1})
		switch {
		case at < end-last && errors.Is(err, corrupt.Err):
			damaged++
		case err != nil || len(list) < 2:
			t.Fatalf("flip at %d of %d: %d batches, %v", at, end, len(list), err)
		case len(list) == 2 && r.Cut != nil && r.Cut.Offset == end-last:
			cut++
		default:
			t.Fatalf("flip at %d of %d: %d batches, %+v", at, end, len(list), r)
		}
	}
	t.Logf("%d flips are damage, %d a torn end", damaged, cut)
	if err := l.Close(false); err != nil {
		t.Fatal(err)
	}
}

func flipped(b []byte, at int64) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x10
	return b
}

func withFile(t testing.TB, fs *vfs.Mem, b []byte) *vfs.Mem {
	t.Helper()
	if err := errors.Join(fs.MkdirAll("d"), vfs.WriteFileAtomic(fs, "d", "000001.log", b)); err != nil {
		t.Fatal(err)
	}
	return fs
}

// TestALostSegmentOrSealIsDamage removes and damages what leads from one segment to the next.
func TestALostSegmentOrSealIsDamage(t *testing.T) {
	fs := vfs.NewMem()
	l := newLog(t, fs, Always, 64<<10)
	for n := uint64(1); n <= 250; n++ {
		put(t, l, batchOf(n, 500))
	}
	first, second := l.mu.segments[0], l.mu.segments[1]
	if len(l.mu.segments) != 3 {
		t.Fatalf("%d segments", len(l.mu.segments))
	}
	for what, harm := range map[string]func(*vfs.Mem) error{
		"first removed":  func(m *vfs.Mem) error { return m.Remove("d/" + first.name) },
		"second removed": func(m *vfs.Mem) error { return m.Remove("d/" + second.name) },
		"second emptied": func(m *vfs.Mem) error { return vfs.WriteFileAtomic(m, "d", second.name, nil) },
		"seal":           func(m *vfs.Mem) error { return overwrite(m, first.name, first.end-8) },
		"header":         func(m *vfs.Mem) error { return overwrite(m, second.name, 20) },
	} {
		bad := fs.CrashClone(vfs.CrashOptions{})
		if err := harm(bad); err != nil {
			t.Fatal(err)
		}
		if _, _, err := replayed(bad, Start{Segment: 1}); !errors.Is(err, corrupt.Err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := overwrite(fs, second.name, dataStart+100); err != nil {
		t.Fatal(err)
	}
	if err := l.Verify(t.Context()); !errors.Is(err, corrupt.Err) {
		t.Errorf("verify: %v", err)
	}
	if err := l.Close(false); err != nil {
		t.Fatal(err)
	}
}

func overwrite(m *vfs.Mem, name string, at int64) error {
	f, err := m.Update("d/" + name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{0xa5, 0x5a}, at)
	return errors.Join(err, f.SyncData(), f.Close())
}

// TestWhoWaitsSharesOneSync stops a sync until ten others wait: they need one more, together.
func TestWhoWaitsSharesOneSync(t *testing.T) {
	const others = 10
	var armed atomic.Bool
	reached, release := make(chan bool), make(chan bool)
	l := newLog(t, vfs.NewFault(vfs.NewMem(), vfs.InjectorFunc(func(op vfs.Op, _ string) error {
		if op == vfs.OpSync && armed.Swap(false) {
			reached <- true
			<-release
		}
		return nil
	})), Always, 64<<10)
	var done sync.WaitGroup
	armed.Store(true)
	for n := uint64(1); n <= 1+others; n++ {
		b := batchOf(n, 10)
		if err := l.Reserve(b); err != nil {
			t.Fatal(err)
		}
		l.Append(b, b)
		done.Go(func() {
			var w Waiter
			if err := l.Commit(n, &w); err != nil {
				t.Error(err)
			}
		})
		if n == 1 {
			<-reached
		}
	}
	testkit.Eventually(t, time.Minute, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.mu.waiting) == others
	})
	release <- true
	done.Wait()
	if m := l.Metrics(); m.Syncs != 2 || m.Turns != 2 {
		t.Fatalf("%+v", m)
	}
	if err := l.Close(true); err != nil {
		t.Fatal(err)
	}
}

func FuzzReplay(f *testing.F) {
	fs := vfs.NewMem()
	l := newLog(f, fs, Always, 64<<10)
	for n := uint64(1); n <= 3; n++ {
		put(f, l, batchOf(n, 20))
	}
	whole, err := vfs.ReadFile(fs, "d/000001.log")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[dataStart:dataStart+300], uint64(1))
	f.Add(example().appendTo(nil), uint64(700))
	if err := l.Close(false); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, number uint64) {
		// The bytes as a record with the right checksum, and as whatever follows the records of a segment.
		record := finish(append(appendHeader(nil, kindBatch, number), b...), 0)
		l.current.id.stamp(record, dataStart, dataStart)
		for _, tail := range [][]byte{record, b} {
			file := append(bytes.Clone(whole[:dataStart]), tail...)
			if _, _, err := replayed(withFile(t, vfs.NewMem(), file), Start{Segment: 1}); err != nil && !errors.Is(err, corrupt.Err) {
				t.Fatal(err)
			}
		}
	})
}

// FuzzBatch reads arbitrary bytes as the payload of a batch: what is taken for one survives being written again.
func FuzzBatch(f *testing.F) {
	f.Add(example().appendTo(nil), uint64(700))
	f.Add(batchOf(3, 2).appendTo(nil), uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, number uint64) {
		batch, ok := decodeBatch(number, b)
		if !ok {
			return
		}
		if most := batch.maxBytes(); len(batch.appendTo(nil)) > most {
			t.Fatalf("%+v takes more than %d bytes", batch, most)
		}
		if again, ok := decodeBatch(number, batch.appendTo(nil)); !ok || !reflect.DeepEqual(batch, again) {
			t.Fatalf("%+v becomes %+v", batch, again)
		}
	})
}

// TestAppendAllocatesNothing counts what a batch costs in the log.
func TestAppendAllocatesNothing(t *testing.T) {
	fs := vfs.NewMem()
	l := newLog(t, fs, Interval, 64<<20)
	b := batchOf(1, 100)
	var w Waiter
	n := testing.AllocsPerRun(1000, func() {
		b.Number++
		if err := l.Reserve(b); err != nil {
			t.Fatal(err)
		}
		l.Append(b, b)
		if err := l.Commit(b.Number, &w); err != nil {
			t.Fatal(err)
		}
	})
	if n >= 1 {
		t.Fatalf("%v allocations for a batch", n)
	}
	if err := l.Close(false); err != nil {
		t.Fatal(err)
	}
}
