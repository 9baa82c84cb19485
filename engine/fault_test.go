package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// faultRun is a short history in which every kind of call happens.
type faultRun struct {
	t        *testing.T
	what     string
	model    *model
	failures atomic.Int32 // calls of OnFailure
	reported bool         // a write said that the store has failed
}

func (f *faultRun) options(fs vfs.FS) Options {
	o := small(fs)
	o.CacheBytes = -1
	o.OnFailure = func(error) { f.failures.Add(1) }
	return o
}

// wrote notes what a write said: after the first FailedError there is never success again (E5).
func (f *faultRun) wrote(err error) bool {
	var failed *FailedError
	switch {
	case err == nil && f.reported:
		f.t.Fatalf("%s: a write succeeded after a failure", f.what)
	case errors.As(err, &failed):
		f.reported = true
	case err != nil:
		f.t.Fatalf("%s: a write failed with %v", f.what, err)
	}
	return err == nil
}

// history applies batches, flushes, reads, compacts and checkpoints; it goes on after failures.
func (f *faultRun) history(db *DB, disk *vfs.Mem, seed uint64) {
	h := &history{random: rand.New(rand.NewPCG(seed, 3)), keys: 60, millis: 1000}
	for i := range 60 {
		b := h.batch(f.model)
		batch := db.NewBatch()
		b.fill(batch, len(f.model.batches)+1)
		if f.wrote(db.Apply(batch)) {
			f.model.apply(b)
		}
		if i%15 == 14 {
			f.wrote(db.Flush())
		}
		key := h.key()
		row, ok, err := db.Get(key, MaxVersion)
		if err == nil {
			f.model.checkGet(f.t, f.what, row, ok, err, key, MaxVersion, f.model.applied.sequence)
		} else if !errors.Is(err, syscall.EIO) && !errors.Is(err, ErrCorrupt) {
			f.t.Fatalf("%s: read: %v", f.what, err)
		}
	}
	f.wrote(db.Compact(f.t.Context()))
	if _, err := db.Checkpoint("copy"); err == nil {
		copied := mustOpen(f.t, "copy", small(disk)) // past the faults: it was said to be complete
		f.model.checkAll(f.t, f.what+" copy", copied, MaxVersion)
		mustClose(f.t, copied)
	}
}

// TestAnyFailedCallIsStickyAndLosesNothingDurable fails the n-th call to the disk, for every n.
func TestAnyFailedCallIsStickyAndLosesNothingDurable(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for _, kind := range []struct {
		ops vfs.Op
		err error
	}{
		{vfs.OpMutating, syscall.EIO},
		{vfs.OpWrite, &vfs.ShortWrite{Err: syscall.ENOSPC}},
		{vfs.OpAny &^ vfs.OpMutating, syscall.EIO},
	} {
		rules := vfs.NewRules(vfs.Rule{Ops: kind.ops})
		runFault(t, "no fault", vfs.NewMem(), rules, seed)
		count := rules.Count(0)
		stride := max(1, count/150)
		for n := 1; n <= count; n += stride {
			disk := vfs.NewMem()
			rules := vfs.NewRules(vfs.Rule{Ops: kind.ops, Nth: n, Err: kind.err})
			runFault(t, fmt.Sprintf("%v, call %d of %d", kind.err, n, count), disk, rules, seed)
		}
	}
}

func runFault(t *testing.T, what string, disk *vfs.Mem, rules *vfs.Rules, seed uint64) {
	t.Helper()
	f := &faultRun{t: t, what: what, model: newModel()}
	fs := vfs.NewFault(disk, rules)
	durable := uint64(0)
	db, err := Open("db", f.options(fs))
	if err == nil {
		f.history(db, disk, seed)
		durable = db.Durable().Index
		err = db.Close()
		if n := f.failures.Load(); n > 1 || f.reported && n == 0 {
			t.Fatalf("%s: %d calls of OnFailure", what, f.failures.Load())
		}
	}
	if err != nil && rules.Hits() == 0 {
		t.Fatalf("%s: %v", what, err)
	}
	db = mustOpen(t, "db", small(disk))
	p := db.Applied().Index
	if p < durable || p > uint64(len(f.model.batches)) {
		t.Fatalf("%s: reopened at %d, had been durable: %d", what, p, durable)
	}
	f.model.replay(int(p)).checkAll(t, what+" reopened", db, MaxVersion)
	mustClose(t, db)
	names, _ := disk.List("db")
	for _, name := range names {
		if strings.HasSuffix(name, ".tmp") {
			t.Fatalf("%s: %s is left over", what, name)
		}
	}
}
