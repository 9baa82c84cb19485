package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// way is how a call to the disk fails.
type way struct {
	ops     vfs.Op
	err     error
	forever bool
}

func (w way) String() string {
	if w.forever {
		return fmt.Sprintf("%v, from then on", w.err)
	}
	return fmt.Sprintf("%v, once", w.err)
}

func waysToFail() (ways []way) {
	for _, forever := range []bool{false, true} {
		for _, err := range []error{syscall.EIO, syscall.ENOSPC, syscall.EACCES, syscall.EROFS} {
			ways = append(ways, way{vfs.OpAny, err, forever})
		}
		ways = append(ways, way{vfs.OpCreate | vfs.OpOpen | vfs.OpUpdate | vfs.OpList | vfs.OpLock, syscall.EMFILE, forever},
			way{vfs.OpWrite, &vfs.ShortWrite{Bytes: 100, Err: syscall.ENOSPC}, forever})
	}
	return ways
}

const (
	faultOperations = 5000
	// faultLifeOperations: the store is closed and opened again every so many operations, and a call is failed in the life that
	// makes it, which is the same as failing it in the whole workload and a hundred times cheaper.
	faultLifeOperations = 50
)

// faultLife is a part of the workload: its store is opened, works and is closed.
type faultLife struct {
	seed    uint64
	options Options
	disk    *vfs.Mem // as it is when the life begins
	model   *model
}

// faultRun is one life in which a call may fail.
type faultRun struct {
	t        *testing.T
	what     string
	way      way
	mode     LogMode
	rules    *vfs.Rules
	random   *rand.Rand
	history  *history
	model    *model
	db       *DB
	durable  int          // batches acknowledged as durable
	written  int          // and those that only the death of the machine may lose
	unsure   *modelBatch  // one that may be in the log, or not
	copies   []copied     // checkpoints that are complete
	failures atomic.Int32 // calls of OnFailure
	reported bool         // a write said that the store has failed
}

// TestAnyFailedCallIsStickyAndLosesNothingDurable fails, one by one, the calls to the disk of a workload of 5,000
// operations, in every way, once and from then on. Every answer is right or the error of the disk, no write succeeds after one failed (E5),
// and what the disk holds then, or after a crash, opens, verifies and has everything that was acknowledged.
func TestAnyFailedCallIsStickyAndLosesNothingDurable(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	random := rand.New(rand.NewPCG(seed, 2))
	turns, runs, hits := make([]int, len(waysToFail())), 0, 0
	for i := range turns {
		turns[i] = random.IntN(*faultStride)
	}
	ways, calls := waysToFail(), make([]int, len(waysToFail()))
	var counting []vfs.Rule
	for _, w := range ways {
		counting = append(counting, vfs.Rule{Ops: w.ops})
	}
	disk, m := vfs.NewMem(), newModel()
	for n := range faultOperations / faultLifeOperations {
		life := newFaultLife(seed+uint64(n), disk, m)
		counts := vfs.NewRules(counting...)
		disk, m = life.run(t, "without a fault", way{}, counts)
		for i, w := range ways {
			calls[i] += counts.Count(i)
			for turns[i] += counts.Count(i); turns[i] >= *faultStride; turns[i] -= *faultStride {
				nth := counts.Count(i) - (turns[i] - *faultStride)
				rules := vfs.NewRules(vfs.Rule{Ops: w.ops, Nth: nth, Err: w.err, Forever: w.forever})
				life.run(t, fmt.Sprintf("seed %d, life %d, call %d of %d: %v", seed, n, nth, counts.Count(i), w), w, rules)
				runs++
				hits += min(1, rules.Hits())
			}
		}
	}
	t.Logf("engine: %d operations with %d calls to the disk, %d of them failed in turn in %d ways: %d runs, %d with a failure, seed %d: no wrong answer",
		faultOperations, calls[0], calls[0] / *faultStride, len(calls), runs, hits, seed)
	if hits < runs*9/10 {
		t.Fatalf("%d of %d runs had a failure", hits, runs)
	}
}

// newFaultLife picks options under which tables stay few: each costs calls to open it.
func newFaultLife(seed uint64, disk *vfs.Mem, m *model) *faultLife {
	sets := slices.DeleteFunc(optionSets(), func(o optionSet) bool { return o.CompactCount == 0 || o.CompactCount > 2 })
	return &faultLife{seed: seed, options: sets[seed%uint64(len(sets))].Options, disk: disk, model: m}
}

// run does the life on a copy of its disk, and gives what is there afterwards.
func (l *faultLife) run(t *testing.T, what string, w way, rules *vfs.Rules) (*vfs.Mem, *model) {
	disk := l.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll})
	f := &faultRun{t: t, what: what, way: w, mode: l.options.Log, rules: rules, model: l.model.after(), durable: l.model.index()}
	f.random = rand.New(rand.NewPCG(l.seed, 3))
	f.history = &history{random: f.random, keys: 60, millis: 1000 + 1000*l.seed%1000, small: l.seed%4 > 0}
	o := l.options
	o.FS = vfs.NewFault(disk, rules)
	o.OnFailure = func(error) { f.failures.Add(1) }
	db, err := Open("db", o)
	if !f.failed(err) {
		f.db = db
		for range faultLifeOperations {
			f.step()
		}
		f.durable = max(f.durable, int(db.Durable().Index))
		if !f.failed(db.Close()) {
			f.durable = f.model.index()
		}
		if n := f.failures.Load(); n > 1 || f.reported && n == 0 {
			t.Fatalf("%s: %d calls of OnFailure", what, n)
		}
	}
	left, least := disk, max(f.durable, f.written)
	if keep := vfs.Keep(f.random.IntN(3)); keep != vfs.KeepAll { // what a failed sync lost is seen only in a crash
		left, least = disk.CrashClone(vfs.CrashOptions{KeepUnsynced: keep, Rand: f.random, BlockBytes: 512}), f.durable
	}
	f.inspect(left, least)
	if err := disk.RemoveAll("copies"); err != nil {
		t.Fatal(err)
	}
	return disk, f.model.newest()
}

// failed tells whether a call failed, which it may only with the error of the disk.
func (f *faultRun) failed(err error) bool {
	f.t.Helper()
	if err != nil && (f.rules.Hits() == 0 || !errors.Is(err, f.way.err)) {
		f.t.Fatalf("%s: %v", f.what, err)
	}
	return err != nil
}

// wrote notes what a write said: after the first FailedError there is never success again (E5).
func (f *faultRun) wrote(err error) bool {
	f.t.Helper()
	if !f.failed(err) {
		if f.reported {
			f.t.Fatalf("%s: a write succeeded after a failure", f.what)
		}
		return true
	}
	var failure *FailedError
	switch {
	case errors.As(err, &failure):
		f.reported = true
	case !errors.Is(err, ErrDiskFull) || !errors.Is(f.way.err, syscall.ENOSPC) || f.reported: // a full log refuses and goes on
		f.t.Fatalf("%s: a write failed with %v", f.what, err)
	}
	return false
}

func (f *faultRun) step() {
	switch n := f.random.IntN(100); {
	case n < 50:
		b := f.history.batch(f.model)
		batch := f.db.NewBatch()
		b.fill(batch, f.model.index()+1)
		switch ok := f.wrote(f.db.Apply(batch)); {
		case ok:
			f.applied(b)
		case batch.Len() == 0 && f.mode == LogInterval:
			f.model.apply(b) // it is visible, as the log is written later
		case batch.Len() == 0:
			f.unsure = &b
		}
	case n < 85:
		key := f.history.key()
		if row, ok, err := f.db.Get(key, MaxVersion); !f.failed(err) {
			f.model.checkGet(f.t, f.what, row, ok, err, key, MaxVersion, f.model.applied.sequence)
		}
	case n < 90:
		f.scan()
	case n < 96:
		if f.wrote(f.db.Flush()) {
			f.durable = f.model.index()
		}
	case n < 97:
		if f.wrote(f.db.Compact(f.t.Context())) {
			f.durable = f.model.index()
		}
	case n < 99:
		dir := fmt.Sprintf("copies/%d", f.model.index())
		if _, err := f.db.Checkpoint(dir); !errors.Is(err, ErrExists) && !f.failed(err) {
			f.copies = append(f.copies, copied{dir, f.model.index()})
		}
	default:
		f.failed(f.db.Verify(f.t.Context()))
	}
}

// applied notes what an Apply without an error promises.
func (f *faultRun) applied(b modelBatch) {
	f.model.apply(b)
	switch f.mode {
	case LogAlways:
		f.durable = f.model.index()
	case LogNever:
		f.written = f.model.index()
	}
}

// scan walks over a part of the rows; what it shows before an error is right.
func (f *faultRun) scan() {
	s := f.db.Snapshot()
	defer s.Close()
	o := IteratorOptions{Start: f.history.key(), End: f.history.key()}
	want := f.model.list(MaxVersion, f.model.applied.sequence, o.Start, o.End)
	it := s.NewIterator(o)
	w := &walker{model: f.model, it: it}
	i := 0
	for ok := w.move(it.First, it.Next); ok; ok = w.move(it.Next, it.Next) {
		if i >= len(want) || !equalRow(it.Row(), want[i]) {
			f.t.Fatalf("%s: row %d of %d is %q@%d", f.what, i, len(want), it.Row().Key, it.Row().Version)
		}
		i++
	}
	if !f.failed(it.Close()) && i < len(want) {
		f.t.Fatalf("%s: %d rows of %d", f.what, i, len(want))
	}
}

// inspect opens a disk that works again.
func (f *faultRun) inspect(disk *vfs.Mem, least int) {
	f.t.Helper()
	all := f.model
	if f.unsure != nil {
		all = all.prefix(all.index())
		all.apply(*f.unsure)
	}
	db, err := Open("db", small(disk))
	if err != nil {
		f.t.Fatalf("%s: reopened: %v", f.what, err)
	}
	p := int(db.Applied().Index)
	if p < least || p > all.index() {
		f.t.Fatalf("%s: reopened at %d, want %d to %d", f.what, p, least, all.index())
	}
	m := all.prefix(p)
	m.checkAll(f.t, f.what+" reopened", db, MaxVersion)
	if err := db.Verify(f.t.Context()); err != nil {
		f.t.Fatalf("%s: reopened: %v", f.what, err)
	}
	mustClose(f.t, db)
	for _, c := range f.copies {
		db, err := Open(c.dir, small(disk))
		if err != nil || int(db.Applied().Index) != c.index {
			f.t.Fatalf("%s: %s: %v", f.what, c.dir, err)
		}
		f.model.prefix(c.index).checkAll(f.t, f.what+" "+c.dir, db, MaxVersion)
		mustClose(f.t, db)
	}
	names, _ := disk.List("db")
	for _, name := range names {
		if strings.HasSuffix(name, ".tmp") {
			f.t.Fatalf("%s: %s is left over", f.what, name)
		}
	}
}

// TestAManifestThatMayBeInPlaceIsNotDamage fails the last step of an installation: the manifest has its name already, and
// the store cannot know whether a crash would take it away again.
func TestAManifestThatMayBeInPlaceIsNotDamage(t *testing.T) {
	disk := vfs.NewMem()
	rules := vfs.NewRules()
	o := small(vfs.NewFault(disk, rules))
	db := mustOpen(t, "db", o)
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
	rules.Set(vfs.Rule{Ops: vfs.OpSyncDir, Nth: 2, Err: syscall.EIO}) // the first is for the name of the table
	if err := db.Flush(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := db.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
}
