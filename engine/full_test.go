package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// limited is a disk of so many bytes. What makes a file longer than there is room for fails, after the part that fits.
type limited struct {
	vfs.FS
	mu    sync.Mutex
	limit int64
	full  int // calls that found no room
}

func (l *limited) resize(limit int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = limit
}

// usedLocked counts the bytes of all files of the store.
func (l *limited) usedLocked() (used int64) {
	names, _ := l.List("db")
	for _, name := range names {
		f, err := l.FS.Open("db/" + name)
		if err != nil {
			continue
		}
		size, _ := f.Size()
		f.Close()
		used += size
	}
	return used
}

// write passes on as much of a write as there is room for.
func (l *limited) write(name string, b []byte, longer int64, write func([]byte) (int, error)) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	missing := int64(0)
	if longer > 0 {
		missing = min(longer, max(0, l.usedLocked()+longer-l.limit))
	}
	n, err := write(b[:int64(len(b))-missing])
	if missing > 0 && err == nil {
		l.full++
		err = &fs.PathError{Op: "write", Path: name, Err: syscall.ENOSPC}
	}
	return n, err
}

type limitedFile struct {
	vfs.File
	disk *limited
	name string
}

func (l *limited) Create(name string) (vfs.File, error) {
	f, err := l.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return &limitedFile{f, l, name}, nil
}

func (f *limitedFile) Write(b []byte) (int, error) {
	return f.disk.write(f.name, b, int64(len(b)), f.File.Write)
}

type limitedUpdate struct {
	vfs.UpdatedFile
	disk *limited
	name string
}

func (l *limited) Update(name string) (vfs.UpdatedFile, error) {
	f, err := l.FS.Update(name)
	if err != nil {
		return nil, err
	}
	return &limitedUpdate{f, l, name}, nil
}

func (f *limitedUpdate) WriteAt(b []byte, at int64) (int, error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	longer := min(int64(len(b)), max(0, at+int64(len(b))-size))
	return f.disk.write(f.name, b, longer, func(b []byte) (int, error) { return f.UpdatedFile.WriteAt(b, at) })
}

// fullRun is a store on a disk that is full now and then.
type fullRun struct {
	t      *testing.T
	disk   *limited
	db     *DB
	random *rand.Rand
	rows   map[string]string
}

const fullKeys = 400

func (r *fullRun) key() string { return fmt.Sprintf("key%04d", r.random.IntN(fullKeys)) }

// put writes one row, or is told that the disk is full.
func (r *fullRun) put() bool {
	key, value := r.key(), make([]byte, 300+r.random.IntN(600))
	fillNoise(value, r.random.Uint64())
	b := r.db.NewBatch()
	b.Put([]byte(key), value, 0, 0)
	if !r.accepted(b) {
		return false
	}
	r.rows[key] = string(value)
	return true
}

func (r *fullRun) delete() bool {
	key := r.key()
	b := r.db.NewBatch()
	b.Delete([]byte(key), 0)
	if !r.accepted(b) {
		return false
	}
	delete(r.rows, key)
	return true
}

func (r *fullRun) accepted(b *Batch) bool {
	r.t.Helper()
	err := r.db.Apply(b)
	if err != nil && (!errors.Is(err, ErrDiskFull) || !vfs.Full(err) || b.Len() != 1) {
		r.t.Fatalf("%v, and the batch has %d rows", err, b.Len())
	}
	return err == nil
}

// check reads everything, in memory and on the disk.
func (r *fullRun) check() {
	r.t.Helper()
	for i := range fullKeys {
		key := fmt.Sprintf("key%04d", i)
		if value, ok := r.rows[key]; ok {
			expectValue(r.t, r.db, key, value)
		} else {
			expectAbsent(r.t, r.db, key)
		}
	}
	if err := r.db.Verify(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// fill writes until the disk and what may wait in memory are full.
func (r *fullRun) fill() {
	r.t.Helper()
	limit := 20 * r.db.options.MemtableBytes / 300 // a row has 300 bytes and more
	for n := 0; r.put(); n++ {
		if n > limit {
			r.t.Fatalf("%d writes into a full disk were taken", n)
		}
	}
}

// recovers lets the clock go until writes are taken again, without anybody asking for it.
func (r *fullRun) recovers() {
	r.t.Helper()
	for range 5 {
		<-time.After(2 * retryInterval)
		synctest.Wait()
	}
	for range 100 {
		if !r.put() {
			r.t.Fatal("there is room, and a write is refused")
		}
	}
	if err := r.db.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

// leftover fails if there are files that belong to nothing.
func (r *fullRun) leftover() {
	r.t.Helper()
	synctest.Wait()
	known := []string{lockName, "MANIFEST"}
	for _, t := range r.db.durable.Load().Tables {
		known = append(known, tableName(t.Number))
	}
	names, err := r.disk.List("db")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		if !slices.Contains(known, name) && !strings.HasSuffix(name, ".log") {
			r.t.Errorf("%s is left over", name)
		}
	}
}

// TestAFullDiskRefusesWritesAndGoesOnWhenThereIsRoom fills the disk again and again, at other bytes each time, under all modes of
// the log: writes are refused when memory is full, too, what was taken is read all the time, deletes are taken, nothing is left
// over, and when there is room the store goes on by itself.
func TestAFullDiskRefusesWritesAndGoesOnWhenThereIsRoom(t *testing.T) {
	seed := testkit.Seed(t)
	for _, mode := range []LogMode{LogOff, LogAlways, LogInterval, LogNever} {
		t.Run(fmt.Sprintf("log=%d", mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := small(&limited{FS: vfs.NewMem(), limit: 1 << 40})
				o.Log, o.LogSegmentBytes, o.CompactCount, o.StopCount = mode, 64<<10, 2, 4
				r := &fullRun{t: t, disk: o.FS.(*limited), random: testkit.NewRand(seed + int64(mode)), rows: map[string]string{}}
				r.db = mustOpen(t, "db", o)
				for range 8 {
					r.round()
				}
				mustClose(t, r.db)
				r.db = mustOpen(t, "db", o)
				r.check()
				mustClose(t, r.db)
				if r.disk.full == 0 {
					t.Fatal("the disk was never full")
				}
			})
		})
	}
}

func (r *fullRun) round() {
	for range r.random.IntN(300) {
		r.put()
	}
	r.disk.mu.Lock()
	used := r.disk.usedLocked()
	r.disk.mu.Unlock()
	r.disk.resize(used + int64(r.random.IntN(30<<10)))
	r.fill()
	r.check()
	for range 20 {
		if !r.delete() {
			r.t.Fatal("a delete is refused")
		}
	}
	r.check()
	for range 3 {
		<-time.After(2 * retryInterval) // attempts that fail again
		synctest.Wait()
		r.fill()
	}
	r.check()
	if err := r.db.failure(); err != nil {
		r.t.Fatal(err)
	}
	r.disk.resize(1 << 40)
	r.recovers()
	r.check()
	r.leftover()
}

// TestACallThatFindsNoRoomForAWhileLosesNothing fails the calls that take room, from each one on for some time, wherever that is:
// in a flush, a compaction, a manifest. No write fails but with ErrDiskFull, and each is taken in the end.
func TestACallThatFindsNoRoomForAWhileLosesNothing(t *testing.T) {
	seed := testkit.Seed(t)
	const calls = 40
	for first := range calls {
		synctest.Test(t, func(t *testing.T) {
			random := testkit.NewRand(seed + int64(first))
			count, last := 0, first+1+random.IntN(20)
			var mu sync.Mutex
			var opened atomic.Bool
			injector := vfs.InjectorFunc(func(op vfs.Op, name string) error {
				if !opened.Load() || op != vfs.OpCreate && op != vfs.OpWrite || strings.Contains(name, ".log") {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				count++
				if count <= first || count > last {
					return nil
				}
				if op == vfs.OpWrite && count%2 == 0 {
					return &vfs.ShortWrite{Bytes: 100, Err: syscall.ENOSPC}
				}
				return syscall.EDQUOT
			})
			disk := vfs.NewMem()
			o := small(vfs.NewFault(disk, injector))
			o.CompactCount, o.StopCount, o.Log = 2, 4, LogMode(first%4)
			o.OnFailure = func(err error) { t.Errorf("call %d to %d: %v", first, last, err) }
			r := &fullRun{t: t, disk: &limited{FS: disk}, random: random, rows: map[string]string{}}
			r.db = mustOpen(t, "db", o)
			opened.Store(true)
			for range 1200 {
				for !r.put() {
					<-time.After(retryInterval)
				}
			}
			for errors.Is(r.db.Flush(), ErrDiskFull) {
				<-time.After(retryInterval)
			}
			<-time.After(2 * retryInterval)
			r.check()
			r.leftover()
			for errors.Is(r.db.Compact(t.Context()), ErrDiskFull) {
				<-time.After(retryInterval)
			}
			r.check()
			mustClose(t, r.db)
			if count <= last {
				t.Fatalf("%d calls, and %d to %d were to fail", count, first+1, last)
			}
			r.db = mustOpen(t, "db", small(disk))
			r.check()
			mustClose(t, r.db)
		})
	}
}

// TestAFailedSyncIsFinalAlsoOnAFullDisk: only what was never synced may be written again.
func TestAFailedSyncIsFinalAlsoOnAFullDisk(t *testing.T) {
	for _, pattern := range []string{"*" + tableSuffix, "MANIFEST.tmp"} {
		rules := vfs.NewRules()
		db := mustOpen(t, "db", small(vfs.NewFault(vfs.NewMem(), rules)))
		apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
		rules.Set(vfs.Rule{Ops: vfs.OpSync, Pattern: pattern, Err: syscall.ENOSPC})
		var failed *FailedError
		if err := db.Flush(); !errors.As(err, &failed) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: a flush whose sync failed: %v", pattern, err)
		}
		b := db.NewBatch()
		b.Put([]byte("l"), []byte("v"), 0, 0)
		if err := db.Apply(b); !errors.As(err, &failed) {
			t.Errorf("%s: a write after that: %v", pattern, err)
		}
		expectValue(t, db, "k", "v")
		if err := db.Close(); !errors.As(err, &failed) {
			t.Errorf("%s: Close: %v", pattern, err)
		}
	}
}

// TestCloseOnAFullDiskSaysSoAndLeavesTheLog: what the log has is there when there is room.
func TestCloseOnAFullDiskSaysSoAndLeavesTheLog(t *testing.T) {
	disk := &limited{FS: vfs.NewMem(), limit: 1 << 40}
	o := small(disk)
	o.Log = LogAlways
	db := mustOpen(t, "db", o)
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
	disk.resize(0)
	if err := db.Flush(); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if err := db.Close(); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if _, err := Open("db", o); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	disk.resize(1 << 40)
	db = mustOpen(t, "db", o)
	expectValue(t, db, "k", "v")
	mustClose(t, db)
}

// TestAFlushThatComesTooLateOnAFullDiskEnds lets Close end between the two halves of a Flush.
func TestAFlushThatComesTooLateOnAFullDiskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &limited{FS: vfs.NewMem(), limit: 1 << 40}
		db := mustOpen(t, "db", small(disk))
		apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
		disk.resize(0)
		if err := db.Close(); !errors.Is(err, ErrDiskFull) {
			t.Fatal(err)
		}
		if err := db.awaitFlushed(db.write.rotated); !errors.Is(err, ErrDiskFull) {
			t.Fatal(err)
		}
	})
}
