package engine

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/engine/internal/wal"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

var logModes = map[string]LogMode{"always": LogAlways, "interval": LogInterval, "never": LogNever}

// withLog are small options with a log, whose segments hold a few batches.
func withLog(fs vfs.FS, mode LogMode) Options {
	o := small(fs)
	o.Log, o.LogSegmentBytes = mode, 64<<10
	return o
}

// afterPowerCut is the disk when the machine dies and nothing was written that was not synced.
func afterPowerCut(disk *vfs.Mem) *vfs.Mem { return disk.CrashClone(vfs.CrashOptions{}) }

func putNumbered(b *Batch, n int) {
	b.Put(fmt.Appendf(nil, "k%06d", n), fmt.Appendf(nil, "v%d", n), 0, 0)
	b.SetPosition(Position{Index: uint64(n), Term: 3})
}

// logFiles are the names of the log's files.
func logFiles(t testing.TB, fs vfs.FS) (names []string) {
	t.Helper()
	all, err := fs.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if strings.HasSuffix(name, wal.Suffix) {
			names = append(names, name)
		}
	}
	return names
}

func TestABatchIsDurableWhenItsModeSays(t *testing.T) {
	for name, mode := range logModes {
		disk := vfs.NewMem()
		db := mustOpen(t, "db", withLog(disk, mode))
		for n := range 10 {
			apply(t, db, func(b *Batch) { putNumbered(b, n+1) })
		}
		reopened := func(what string, disk *vfs.Mem) {
			t.Helper()
			again := mustOpen(t, "db", withLog(disk, mode))
			if p := again.Applied(); p.Index != 10 || p != again.Durable() {
				t.Fatalf("%s: reopened %s at %v, durable %v", name, what, p, again.Durable())
			}
			if m := again.Metrics().Log; m.Replayed != 10 || m.Torn {
				t.Fatalf("%s: reopened %s: %+v", name, what, m)
			}
			mustClose(t, again)
		}
		if mode != LogInterval {
			reopened("after a kill", disk.KillClone())
		}
		if mode == LogAlways {
			reopened("after a power cut", afterPowerCut(disk))
		}
		if err := db.Sync(); err != nil {
			t.Fatal(err)
		}
		reopened("after Sync", afterPowerCut(disk))
		if db.Durable().Index != 10 {
			t.Fatalf("%s: durable %v after Sync", name, db.Durable())
		}
		mustClose(t, db)
	}
}

func TestTheIntervalBoundsWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		o := withLog(disk, LogInterval)
		o.LogSyncInterval = time.Second
		db := mustOpen(t, "db", o)
		apply(t, db, func(b *Batch) { putNumbered(b, 1) })
		expectValue(t, db, "k000001", "v1")
		if db.Durable().Index != 0 {
			t.Fatalf("durable at once: %v", db.Durable())
		}
		<-time.After(time.Second)
		synctest.Wait()
		if db.Durable().Index != 1 {
			t.Fatalf("durable after the interval: %v", db.Durable())
		}
		again := mustOpen(t, "db", withLog(afterPowerCut(disk), LogOff))
		expectValue(t, again, "k000001", "v1")
		mustClose(t, again)
		mustClose(t, db)
	})
}

// TestWhatManyWritersWereToldIsThereAfterACrash has 64 writers share the syncs of one log, while memtables are flushed and
// files are used again, and cuts the power now and then.
func TestWhatManyWritersWereToldIsThereAfterACrash(t *testing.T) {
	const writers, each = 64, 50
	r := testkit.Rand(t)
	disk := vfs.NewMem()
	db := mustOpen(t, "db", withLog(disk, LogAlways))
	var told [writers]atomic.Int64
	type crash struct {
		disk *vfs.Mem
		told [writers]int64
	}
	var crashes []crash
	var mu sync.Mutex
	disk.OnCall(func(vfs.Op, string) {
		mu.Lock()
		defer mu.Unlock()
		if r.IntN(120) > 0 {
			return
		}
		c := crash{}
		for w := range told {
			c.told[w] = told[w].Load()
		}
		c.disk = disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.Keep(r.IntN(2)), Rand: r, BlockBytes: 512})
		crashes = append(crashes, c)
	})
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			b := db.NewBatch()
			for n := range each {
				b.Put(fmt.Appendf(nil, "w%02d/%03d", w, n), bytes.Repeat([]byte{byte(n)}, 100), 0, 0)
				b.Put(fmt.Appendf(nil, "w%02d/last", w), fmt.Appendf(nil, "%d", n), 0, 0)
				if err := db.Apply(b); err != nil {
					t.Error(err)
					return
				}
				expectValue(t, db, fmt.Sprintf("w%02d/last", w), fmt.Sprint(n))
				told[w].Store(int64(n + 1))
			}
		})
	}
	done.Wait()
	disk.OnCall(nil)
	m := db.Metrics().Log
	mustClose(t, db)
	if m.ReusedCount == 0 {
		t.Fatalf("%+v", m)
	}
	t.Logf("%d crashes; %d batches in %d syncs", len(crashes), writers*each, m.Syncs)
	for i, c := range crashes {
		db := mustOpen(t, "db", withLog(c.disk, LogOff))
		for w, n := range c.told {
			row, ok, err := db.Get(fmt.Appendf(nil, "w%02d/last", w), MaxVersion)
			if err != nil || n > 0 && !ok {
				t.Fatalf("crash %d: writer %d was told %d: %v, %v", i, w, n, ok, err)
			}
			last := int64(0)
			if ok {
				_, _ = fmt.Sscan(string(row.Value), &last)
				last++
			}
			if last < n || last > n+1 { // one more may have been on its way
				t.Fatalf("crash %d: writer %d was told %d and finds %d", i, w, n, last)
			}
		}
		mustClose(t, db)
	}
}

// TestABatchIsVisibleOnlyWhenItIsDurable stops a sync of the log: until it has ended nobody sees the batch, no flush takes it, and
// when it fails nobody ever does (E8).
func TestABatchIsVisibleOnlyWhenItIsDurable(t *testing.T) {
	for _, failure := range []error{nil, syscall.EIO} {
		disk := vfs.NewMem()
		var armed atomic.Bool
		reached, release := make(chan bool), make(chan bool)
		fs := vfs.NewFault(disk, vfs.InjectorFunc(func(op vfs.Op, name string) error {
			if op == vfs.OpSync && strings.HasSuffix(name, wal.Suffix) && armed.Swap(false) {
				reached <- true
				<-release
				return failure
			}
			return nil
		}))
		db := mustOpen(t, "db", withLog(fs, LogAlways))
		apply(t, db, func(b *Batch) { putNumbered(b, 1) })
		armed.Store(true)
		applied, flushed := make(chan error, 1), make(chan error, 1)
		go func() {
			b := db.NewBatch()
			putNumbered(b, 2)
			b.Delete([]byte("k000001"), 0)
			applied <- db.Apply(b)
		}()
		<-reached
		go func() { flushed <- db.Flush() }()
		expectAbsent(t, db, "k000002")
		expectValue(t, db, "k000001", "v1")
		if p := db.Applied(); p.Index != 1 || db.Durable() != p {
			t.Fatalf("applied %v, durable %v", p, db.Durable())
		}
		release <- true
		var failed *FailedError
		if err := <-applied; failure == nil && err != nil || failure != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		if err := <-flushed; failure == nil && err != nil || failure != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		if failure != nil {
			expectAbsent(t, db, "k000002")
			expectValue(t, db, "k000001", "v1")
			if err := db.Close(); !errors.As(err, &failed) {
				t.Fatal(err)
			}
			continue
		}
		expectValue(t, db, "k000002", "v2")
		mustClose(t, db)
	}
}

func TestABatchThatTheFullDiskRefusesLeavesNoTraceAndWritesGoOn(t *testing.T) {
	disk := vfs.NewMem()
	rules := vfs.NewRules()
	o := withLog(vfs.NewFault(disk, rules), LogAlways)
	o.MemtableBytes = 16 << 20 // no flush meets the full disk
	db := mustOpen(t, "db", o)
	told := 0
	large := bytes.Repeat([]byte("x"), 20<<10)
	for round := range 6 {
		rules.Set(vfs.Rule{Ops: vfs.OpCreate, Pattern: "*.log.tmp", Err: syscall.ENOSPC, Forever: true},
			vfs.Rule{Ops: vfs.OpWrite, Pattern: "*.log", Nth: 1 + round, Err: &vfs.ShortWrite{Bytes: 700, Err: syscall.ENOSPC}})
		b := db.NewBatch()
		for n := range 10 {
			b.Put(fmt.Appendf(nil, "r%d/%d", round, n), large, 0, 0)
			err := db.Apply(b)
			if err == nil {
				told++
				continue
			}
			if rules.Hits() == 0 || !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			var failed *FailedError
			if errors.As(err, &failed) { // it struck the records themselves: nobody knows what is on the disk
				checkPrefix(t, disk, db, told)
				return
			}
			if !errors.Is(err, ErrDiskFull) || b.Len() != 1 {
				t.Fatalf("%v, the batch has %d rows", err, b.Len())
			}
			expectAbsent(t, db, fmt.Sprintf("r%d/%d", round, n))
			rules.Set()
			if err := db.Apply(b); err != nil { // there is room again
				t.Fatal(err)
			}
			told++
		}
	}
	rules.Set()
	checkPrefix(t, disk, db, told)
}

// checkPrefix cuts the power, counts the rows that are there, and closes the store.
func checkPrefix(t *testing.T, disk *vfs.Mem, db *DB, least int) {
	t.Helper()
	again := mustOpen(t, "db", withLog(afterPowerCut(disk), LogOff))
	if n := int(again.LastVersion()); n < least || n > least+1 {
		t.Fatalf("%d batches, %d were acknowledged", n, least)
	}
	mustClose(t, again)
	_ = db.Close()
}

// TestDamageOfTheLogIsNamedAndATornEndIsTold flips a byte in the middle and tears the end.
func TestDamageOfTheLogIsNamedAndATornEndIsTold(t *testing.T) {
	disk := vfs.NewMem()
	db := mustOpen(t, "db", withLog(disk, LogAlways))
	var ends []int
	size := func() int {
		b, _ := vfs.ReadFile(disk, "db/000001.log")
		return len(bytes.TrimRight(b, "\x00"))
	}
	for n := range 4 {
		apply(t, db, func(b *Batch) { putNumbered(b, n+1) })
		ends = append(ends, size())
	}
	harmed := func(at int) *vfs.Mem {
		clone := afterPowerCut(disk)
		f, err := clone.Update("db/000001.log")
		if err == nil {
			_, err = f.WriteAt([]byte{0xff}, int64(at-3))
		}
		if err := errors.Join(err, f.SyncData(), f.Close()); err != nil {
			t.Fatal(err)
		}
		return clone
	}
	var damage *CorruptionError
	if _, err := Open("db", withLog(harmed(ends[1]), LogAlways)); !errors.As(err, &damage) || damage.File != "000001.log" {
		t.Fatalf("damage in the middle: %v", err)
	}
	again := mustOpen(t, "db", withLog(harmed(ends[3]), LogAlways))
	if m := again.Metrics().Log; !m.Torn || m.TornFile != "000001.log" || m.Replayed != 3 || again.Applied().Index != 3 {
		t.Fatalf("torn end: %+v, applied %v", m, again.Applied())
	}
	mustClose(t, again)
	mustClose(t, db)
}

// TestModesMayChangeAndNoLogOutlivesItsUse opens what another mode left.
func TestModesMayChangeAndNoLogOutlivesItsUse(t *testing.T) {
	r := testkit.Rand(t)
	disk := vfs.NewMem()
	n, logs := 0, []LogMode{LogOff, LogAlways, LogInterval, LogNever}
	for range 40 {
		o := withLog(disk, logs[r.IntN(len(logs))])
		db := mustOpen(t, "db", o)
		if db.Applied().Index != uint64(n) {
			t.Fatalf("opened at %v, want %d", db.Applied(), n)
		}
		if files := logFiles(t, disk); o.Log == LogOff && len(files) > 0 || o.Log != LogOff && len(files) != 1 {
			t.Fatalf("mode %d: files %v", o.Log, files)
		}
		for range r.IntN(300) {
			n++
			apply(t, db, func(b *Batch) {
				putNumbered(b, n)
				b.Put([]byte("filler"), make([]byte, r.IntN(2000)), 0, 0)
			})
		}
		if r.IntN(2) == 0 {
			if err := db.Sync(); err != nil {
				t.Fatal(err)
			}
			crashed := disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.Keep(r.IntN(3)), Rand: r})
			mustClose(t, db)
			disk = crashed
			continue
		}
		mustClose(t, db)
		if files := logFiles(t, disk); len(files) > 0 {
			t.Fatalf("mode %d: closed with %v", o.Log, files)
		}
	}
}

// TestTheLogIsBoundedByFlushes applies batches without rows, of which memtables take no notice.
func TestTheLogIsBoundedByFlushes(t *testing.T) {
	disk := vfs.NewMem()
	db := mustOpen(t, "db", withLog(disk, LogNever))
	b, most := db.NewBatch(), 0
	for n := range 30_000 {
		b.SetPosition(Position{Index: uint64(n + 1)})
		if err := db.Apply(b); err != nil {
			t.Fatal(err)
		}
		most = max(most, db.Metrics().Log.SegmentCount)
	}
	if m := db.Metrics(); m.Flushes == 0 || most > 10 {
		t.Fatalf("%d flushes, %d segments at most, %+v", m.Flushes, most, m.Log)
	}
	again := mustOpen(t, "db", withLog(disk.KillClone(), LogNever))
	if again.Applied().Index != 30_000 {
		t.Fatal(again.Applied())
	}
	mustClose(t, again)
	mustClose(t, db)
}

// TestCheckpointsCarryNoLog opens a checkpoint of a store whose log is in use, and verifies the store.
func TestCheckpointsCarryNoLog(t *testing.T) {
	disk := vfs.NewMem()
	db := mustOpen(t, "db", withLog(disk, LogAlways))
	for n := range 100 {
		apply(t, db, func(b *Batch) { putNumbered(b, n+1) })
	}
	if _, err := db.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	apply(t, db, func(b *Batch) { putNumbered(b, 101) })
	if err := db.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := mustOpen(t, "copy", withLog(disk, LogAlways))
	if again.Applied().Index != 100 || again.Metrics().Log.Replayed != 0 {
		t.Fatalf("%v, %+v", again.Applied(), again.Metrics().Log)
	}
	mustClose(t, again)
	mustClose(t, db)
	if err := db.Sync(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// TestALoggedPutAllocatesLittle counts allocations: one is what the store has after the batch.
func TestALoggedPutAllocatesLittle(t *testing.T) {
	for _, mode := range []LogMode{LogInterval, LogNever} { // the disk in memory allocates for what is synced
		db := mustOpen(t, "db", Options{FS: vfs.NewMem(), Log: mode})
		b := db.NewBatch()
		key, value := []byte("user000000000001"), make([]byte, 100)
		n := testing.AllocsPerRun(2000, func() {
			b.Put(key, value, 0, 0)
			if err := db.Apply(b); err != nil {
				t.Fatal(err)
			}
		})
		if n > 1 {
			t.Errorf("mode %d: %v allocations for a put", mode, n)
		}
		mustClose(t, db)
	}
}

// counted counts the files open for updates: those of a log.
type counted struct {
	vfs.FS
	open atomic.Int64
}

type countedFile struct {
	vfs.UpdatedFile
	fs *counted
}

func (c *counted) Update(name string) (vfs.UpdatedFile, error) {
	f, err := c.FS.Update(name)
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return countedFile{f, c}, nil
}

func (f countedFile) Close() error {
	f.fs.open.Add(-1)
	return f.UpdatedFile.Close()
}

// TestAnOpeningThatFailsBehindItsLogClosesIt has a family whose rows need the clock that the second opening lacks.
func TestAnOpeningThatFailsBehindItsLogClosesIt(t *testing.T) {
	disk := &counted{FS: vfs.NewMem()}
	o := withLog(disk, LogAlways)
	o.Families, o.Clock = true, clock.Real{}
	db := mustOpen(t, "db", o)
	if _, err := db.CreateFamily("a", FamilyOptions{TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	if disk.open.Load() == 0 {
		t.Fatal("an open store has no log")
	}
	mustClose(t, db)
	o.Clock = nil
	if _, err := Open("db", o); !errors.Is(err, ErrNoClock) {
		t.Fatal(err)
	}
	if n := disk.open.Load(); n != 0 {
		t.Fatalf("%d files of the log are open", n)
	}
}
