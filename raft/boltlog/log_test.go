package boltlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	hraft "github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

func openAt(t *testing.T, path string) *Log {
	t.Helper()
	l, err := Open(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func entries(term uint64, first, last uint64) []*hraft.Log {
	var out []*hraft.Log
	for i := first; i <= last; i++ {
		out = append(out, &hraft.Log{Index: i, Term: term, Type: hraft.LogCommand, Data: []byte(fmt.Sprintf("%d@%d", i, term))})
	}
	return out
}

func store(t *testing.T, l *Log, term, first, last uint64) {
	t.Helper()
	if err := l.StoreLogs(entries(term, first, last)); err != nil {
		t.Fatal(err)
	}
}

// holds fails unless the log holds exactly first to last with the terms that term gives.
func holds(t *testing.T, l *Log, first, last uint64, term func(index uint64) uint64) {
	t.Helper()
	gotFirst, _ := l.FirstIndex()
	gotLast, _ := l.LastIndex()
	if gotFirst != first || gotLast != last {
		t.Fatalf("log holds %d to %d, want %d to %d", gotFirst, gotLast, first, last)
	}
	var e hraft.Log
	for i := first; i != 0 && i <= last; i++ {
		if err := l.GetLog(i, &e); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if want := fmt.Sprintf("%d@%d", i, term(i)); e.Index != i || e.Term != term(i) || string(e.Data) != want || e.Extensions != nil {
			t.Fatalf("entry %d = %+v, want %s", i, e, want)
		}
	}
	for _, missing := range []uint64{0, first - 1, last + 1} {
		if err := l.GetLog(missing, &e); missing < first && err != hraft.ErrLogNotFound || missing > last && err != hraft.ErrLogNotFound {
			t.Fatalf("entry %d: %v, want exactly ErrLogNotFound", missing, err)
		}
	}
}

func constant(term uint64) func(uint64) uint64 { return func(uint64) uint64 { return term } }

func TestEntriesAndVotesSurviveReopening(t *testing.T) {
	path := t.TempDir() + "/log.db"
	l := openAt(t, path)
	store(t, l, 3, 1, 20)
	if err := errors.Join(l.SetUint64([]byte("CurrentTerm"), 4), l.SetUint64([]byte(keyLastVoteTerm), 4), l.Set([]byte(keyLastVoteCand), []byte("n1#1"))); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openAt(t, path)
	holds(t, l, 1, 20, constant(3))
	term, err := l.GetUint64([]byte(keyLastVoteTerm))
	candidate, err2 := l.Get([]byte(keyLastVoteCand))
	if current, err3 := l.GetUint64([]byte("CurrentTerm")); errors.Join(err, err2, err3) != nil || term != 4 || string(candidate) != "n1#1" || current != 4 {
		t.Fatalf("vote %d %q, term %d: %v", term, candidate, current, errors.Join(err, err2, err3))
	}
}

func TestAMissingKeyIsNotFoundToTheLetter(t *testing.T) {
	l := openAt(t, t.TempDir()+"/log.db")
	for _, key := range []string{"CurrentTerm", keyLastVoteCand, "x"} {
		if _, err := l.Get([]byte(key)); err == nil || err.Error() != "not found" {
			t.Fatalf("Get(%s): %v", key, err)
		}
		if _, err := l.GetUint64([]byte(keyLastVoteTerm)); err == nil || err.Error() != "not found" {
			t.Fatalf("GetUint64: %v", err)
		}
	}
}

func TestOverwritingReplacesTheSuffixAndAGapDropsThePrefix(t *testing.T) {
	path := t.TempDir() + "/log.db"
	l := openAt(t, path)
	store(t, l, 1, 1, 10)
	store(t, l, 2, 6, 7)
	mixed := func(i uint64) uint64 {
		if i < 6 {
			return 1
		}
		return 2
	}
	holds(t, l, 1, 7, mixed)
	if err := l.DeleteRange(1, 3); err != nil {
		t.Fatal(err)
	}
	holds(t, l, 4, 7, mixed)
	store(t, l, 5, 20, 22)
	holds(t, l, 20, 22, constant(5))
	store(t, l, 6, 15, 16)
	holds(t, l, 15, 16, constant(6))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	holds(t, openAt(t, path), 15, 16, constant(6))
}

func TestADeletionThatWouldLeaveAHoleIsRefused(t *testing.T) {
	l := openAt(t, t.TempDir()+"/log.db")
	store(t, l, 1, 1, 10)
	if err := l.DeleteRange(3, 5); err == nil {
		t.Fatal("deleted the middle")
	}
	holds(t, l, 1, 10, constant(1))
	if err := l.DeleteRange(11, 20); err != nil {
		t.Fatalf("deleting nothing: %v", err)
	}
	if err := l.DeleteRange(1, 10); err != nil {
		t.Fatal(err)
	}
	holds(t, l, 0, 0, constant(1))
}

// countingDB fails the write with the number failAt and those after it.
type countingDB struct {
	database
	writes, failAt int
}

var errDisk = errors.New("no space left on device")

func (c *countingDB) count() error {
	c.writes++
	if c.failAt > 0 && c.writes >= c.failAt {
		return errDisk
	}
	return nil
}

func (c *countingDB) StoreLogs(logs []*hraft.Log) error {
	if err := c.count(); err != nil {
		return err
	}
	return c.database.StoreLogs(logs)
}

func (c *countingDB) DeleteRange(start, end uint64) error {
	if err := c.count(); err != nil {
		return err
	}
	return c.database.DeleteRange(start, end)
}

func (c *countingDB) Set(key, value []byte) error {
	if err := c.count(); err != nil {
		return err
	}
	return c.database.Set(key, value)
}

func openDB(t *testing.T, path string) *raftboltdb.BoltStore {
	t.Helper()
	db, err := raftboltdb.New(raftboltdb.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestTheVoteIsOneRecord (R2) fails each write of two votes in turn: what is read afterwards is
// one of the votes, never the term of one with the candidate of the other.
func TestTheVoteIsOneRecord(t *testing.T) {
	for failAt := 1; failAt <= 4; failAt++ {
		path := t.TempDir() + "/log.db"
		db := &countingDB{database: openDB(t, path), failAt: failAt}
		l, err := newLog(db, 1<<20)
		if err == nil {
			for term, candidate := range map[uint64]string{7: "a#1"} {
				_ = l.SetUint64([]byte(keyLastVoteTerm), term)
				_ = l.Set([]byte(keyLastVoteCand), []byte(candidate))
			}
			_ = l.SetUint64([]byte(keyLastVoteTerm), 8)
			_ = l.Set([]byte(keyLastVoteCand), []byte("b#1"))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		l = openAt(t, path)
		term, _ := l.GetUint64([]byte(keyLastVoteTerm))
		candidate, _ := l.Get([]byte(keyLastVoteCand))
		got := fmt.Sprintf("%d %s", term, candidate)
		if want := []string{"", "0 ", "0 ", "7 a#1", "8 b#1"}[failAt]; got != want {
			t.Fatalf("write %d failed: vote is %q, want %q", failAt, got, want)
		}
	}
}

func TestAfterAFailedWriteNothingIsWritten(t *testing.T) {
	db := &countingDB{database: openDB(t, t.TempDir()+"/log.db")}
	l, err := newLog(db, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	store(t, l, 1, 1, 3)
	db.failAt = db.writes + 1
	if err := l.StoreLogs(entries(1, 4, 5)); !errors.Is(err, errDisk) {
		t.Fatalf("store: %v", err)
	}
	db.failAt = 0 // the disk says that it is well again
	before := db.writes
	for _, write := range []func() error{
		func() error { return l.StoreLogs(entries(1, 4, 5)) },
		func() error { return l.DeleteRange(1, 2) },
		func() error { return l.SetUint64([]byte("CurrentTerm"), 9) },
		func() error { return l.Set([]byte(keyLastVoteCand), []byte("x#1")) },
	} {
		if err := write(); !errors.Is(err, errDisk) {
			t.Fatalf("a later write: %v", err)
		}
	}
	if db.writes != before {
		t.Fatal("something was written after the failure")
	}
}

func TestDamageIsReportedAndNotServed(t *testing.T) {
	path := t.TempDir() + "/log.db"
	l := openAt(t, path)
	store(t, l, 1, 1, 5)
	if err := l.SetUint64([]byte("CurrentTerm"), 3); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, path)
	var e hraft.Log
	damage := func(index uint64, change func(*hraft.Log)) {
		if err := db.GetLog(index, &e); err != nil {
			t.Fatal(err)
		}
		change(&e)
		if err := db.StoreLog(&e); err != nil {
			t.Fatal(err)
		}
	}
	damage(1, func(e *hraft.Log) { e.Data[0] ^= 1 })
	damage(2, func(e *hraft.Log) { e.Term++ })
	damage(3, func(e *hraft.Log) { e.Type = hraft.LogNoop })
	damage(4, func(e *hraft.Log) { e.Extensions = nil })
	record, err := db.Get([]byte("CurrentTerm"))
	if err != nil {
		t.Fatal(err)
	}
	record[0] ^= 1
	if err := errors.Join(db.Set([]byte("CurrentTerm"), record), db.Close()); err != nil {
		t.Fatal(err)
	}
	l = openAt(t, path)
	var damaged *DamageError
	for i := uint64(1); i <= 4; i++ {
		e = hraft.Log{}
		if err := l.GetLog(i, &e); !errors.As(err, &damaged) || e.Data != nil {
			t.Fatalf("entry %d: %v, served %+v", i, err, e)
		}
	}
	if err := l.GetLog(5, &e); err != nil {
		t.Fatal(err)
	}
	if _, err := l.GetUint64([]byte("CurrentTerm")); !errors.As(err, &damaged) {
		t.Fatalf("term: %v", err)
	}
}

func TestAHoleInTheFileIsDamage(t *testing.T) {
	path := t.TempDir() + "/log.db"
	l := openAt(t, path)
	store(t, l, 1, 1, 5)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, path)
	if err := errors.Join(db.DeleteRange(3, 3), db.Close()); err != nil {
		t.Fatal(err)
	}
	var damaged *DamageError
	if err := openAt(t, path).GetLog(3, new(hraft.Log)); !errors.As(err, &damaged) {
		t.Fatalf("entry 3: %v", err)
	}
}

func TestAFileOfAnotherFormatIsRefused(t *testing.T) {
	path := t.TempDir() + "/log.db"
	l := openAt(t, path)
	if err := errors.Join(l.SetUint64([]byte(keyFormat), fileFormat+1), l.Close()); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(path, 0); err == nil {
		t.Fatalf("opened %v", l)
	}
}

func TestAClosedLogSaysSo(t *testing.T) {
	l := openAt(t, t.TempDir()+"/log.db")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.StoreLogs(entries(1, 1, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("store: %v", err)
	}
	if _, err := l.Get([]byte("x")); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("get: %v", err)
	}
}

func TestTheTailCacheIsBoundedAndAgreesWithTheLog(t *testing.T) {
	c := newTailCache(5 * (100 + entryCacheOverhead))
	entry := func(i, term uint64) *hraft.Log {
		return &hraft.Log{Index: i, Term: term, Data: bytes.Repeat([]byte{byte(i)}, 100)}
	}
	for i := uint64(1); i <= 12; i++ {
		c.add([]*hraft.Log{entry(i, 1)})
	}
	var e hraft.Log
	for i := uint64(0); i <= 13; i++ {
		if got := c.get(i, &e); got != (i >= 8 && i <= 12) {
			t.Fatalf("entry %d cached: %v", i, got)
		}
	}
	c.drop(11, 12)
	c.add([]*hraft.Log{entry(11, 2)})
	if !c.get(11, &e) || e.Term != 2 || c.get(12, &e) || !c.get(10, &e) || e.Term != 1 {
		t.Fatal("a replaced suffix is not replaced in the cache")
	}
	c.drop(1, 9)
	if c.get(9, &e) || !c.get(10, &e) || c.bytes != 2*(100+entryCacheOverhead) {
		t.Fatalf("after a cut %d bytes are cached", c.bytes)
	}
	c.add([]*hraft.Log{entry(50, 3)})
	if c.get(11, &e) || !c.get(50, &e) {
		t.Fatal("a gap is not a gap in the cache")
	}
	c.add([]*hraft.Log{{Index: 51, Data: make([]byte, 10_000)}})
	if c.get(50, &e) || c.get(51, &e) || c.bytes != 0 {
		t.Fatalf("an entry larger than the cache left %d bytes", c.bytes)
	}
}

// BenchmarkAppend is the same as that of package sharedlog: each group has a file of its own.
func BenchmarkAppend(b *testing.B) {
	for _, groups := range []int{1, 3, 8, 32} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			dir, data := b.TempDir(), make([]byte, 4<<10)
			var logs []*Log
			for id := range groups {
				l, err := Open(fmt.Sprintf("%s/%d.db", dir, id), 1<<20)
				if err != nil {
					b.Fatal(err)
				}
				defer l.Close()
				logs = append(logs, l)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, l := range logs {
				wg.Go(func() {
					for i := range uint64(b.N / groups) {
						if err := l.StoreLogs([]*hraft.Log{{Index: i + 1, Term: 1, Data: data}}); err != nil {
							b.Error(err)
							return
						}
						if i%64 == 63 {
							if err := l.DeleteRange(1, i-32); err != nil {
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
