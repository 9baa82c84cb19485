package sharedlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// life runs steps of all models at once, each on a goroutine of its own, until each has made its
// steps or the log fails.
func life(t *testing.T, l *Log, models []*replicaModel, steps, maxData int) {
	t.Helper()
	var wg sync.WaitGroup
	for _, m := range models {
		v := mustView(t, l, m.key)
		v.OnDurable(m.onDurable)
		wg.Go(func() {
			for range steps {
				if err := m.step(v, maxData); err != nil {
					return
				}
			}
			_ = v.Close() // what is early is durable then
		})
	}
	wg.Wait()
}

// TestNothingAcknowledgedIsLostInACrash (LG1, LG2) lets several replicas write at once on segments
// that are reused all the time, takes the disk as a crash would leave it at random moments,
// compares what is read from it, and goes on with one such disk.
func TestNothingAcknowledgedIsLostInACrash(t *testing.T) {
	seed := testkit.Seed(t)
	histories, crashes, reused := 60, 0, 0
	if testing.Short() {
		histories = 10
	}
	for history := range histories {
		r := testkit.NewRand(seed + int64(history))
		disk := vfs.NewMem()
		var models []*replicaModel
		for i := range 1 + r.IntN(4) {
			models = append(models, newReplicaModel(key{uint64(i + 1), 1}, testkit.NewRand(seed+int64(history*100+i))))
			models[i].early = true
		}
		maxData := []int{1, 60, 400, 1500}[r.IntN(4)]
		for lives := range 5 {
			l := mustOpen(t, smallOptions(disk, r.Int64()))
			var next *vfs.Mem
			var failure error
			// One call of the disk is made at a time, the writer's, which may go on carrying when all is written.
			var watch sync.Mutex
			over := false
			check := func(keep vfs.Keep) *vfs.Mem {
				clone := disk.CrashClone(vfs.CrashOptions{KeepUnsynced: keep, Rand: r, BlockBytes: 512})
				crashes++
				if err := check(smallOptions(clone.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll}), r.Int64()), models, false); err != nil && failure == nil {
					failure = fmt.Errorf("history %d, life %d, crash %d: %w", history, lives, crashes, err)
				}
				return clone
			}
			disk.OnCall(func(vfs.Op, string) {
				watch.Lock()
				defer watch.Unlock()
				if failure == nil && !over && r.IntN(25) == 0 {
					next = check([]vfs.Keep{vfs.KeepNone, vfs.KeepRandom, vfs.KeepRandom, vfs.KeepAll}[r.IntN(4)])
				}
			})
			life(t, l, models, 40, maxData)
			watch.Lock()
			over = true
			watch.Unlock()
			disk.OnCall(nil)
			if failure != nil {
				t.Fatal(failure)
			}
			if r.IntN(2) == 0 || next == nil {
				next = disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepRandom, Rand: r, BlockBytes: 512})
			} else {
				next = check(vfs.KeepRandom)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if l.fileNumber < int(l.segments.list[len(l.segments.list)-1].sequence) {
				reused++
			}
			disk = next
			// Opening twice: what was found must be durable by then.
			if err := checkAndAdopt(disk, models, r); err != nil {
				t.Fatalf("history %d, life %d: %v", history, lives, err)
			}
			disk = disk.CrashClone(vfs.CrashOptions{})
		}
	}
	t.Logf("%d crashes, files reused in %d lives", crashes, reused)
	if crashes < histories*20 || reused < histories {
		t.Errorf("%d crashes, %d lives that reused files: the test has become too small", crashes, reused)
	}
}

func checkAndAdopt(disk *vfs.Mem, models []*replicaModel, r *rand.Rand) error {
	return check(smallOptions(disk, r.Int64()), models, true)
}

// TestAfterAFailedCallNothingIsAcknowledgedThatIsLost (LG3) fails the n-th call of each kind, for
// every n, once and for ever, and demands that no write succeeds after the first failure, that the
// error stays the first, and that the strictest crash keeps what was acknowledged.
func TestAfterAFailedCallNothingIsAcknowledgedThatIsLost(t *testing.T) {
	seed := testkit.Seed(t)
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpCreate, vfs.OpRename, vfs.OpSyncDir, vfs.OpRemove, vfs.OpUpdate} {
		for _, rule := range []vfs.Rule{
			{Ops: op, Err: syscall.EIO}, {Ops: op, Err: syscall.ENOSPC, Forever: true},
			{Ops: op, Err: &vfs.ShortWrite{Bytes: 100, Err: syscall.ENOSPC}},
		} {
			failNth(t, seed, rule)
		}
	}
}

func failNth(t *testing.T, seed int64, rule vfs.Rule) {
	t.Helper()
	for n := 1; n <= 120; n += 1 + n/8 {
		rule.Nth = n
		disk := vfs.NewMem()
		rules := vfs.NewRules()
		model := newReplicaModel(key{7, 1}, testkit.NewRand(seed))
		l := mustOpen(t, smallOptions(vfs.NewFault(disk, rules), seed))
		v := mustView(t, l, model.key)
		rules.Set(rule)
		var first error
		for step := 0; step < 120 && first == nil; step++ {
			hits := rules.Hits()
			first = model.step(v, 300)
			if rules.Hits() == hits {
				continue
			}
			// Now, before the disk's memory gets the same sectors to write once more.
			strict := disk.CrashClone(vfs.CrashOptions{})
			if err := check(smallOptions(strict, seed+1), []*replicaModel{model}, false); err != nil {
				t.Fatalf("%v %d failed with %v: %v", rule.Ops, n, first, err)
			}
			if first == nil { // nobody waited: the writer was carrying, or giving back what it had carried
				first = v.Set([]byte("CurrentTerm"), []byte("x"))
			}
			if first == nil {
				t.Fatalf("%v %d failed and nobody was told", rule.Ops, n)
			}
		}
		if first != nil {
			rules.Set() // the disk says that it is well again
			for name, write := range map[string]func() error{
				"set":    func() error { return v.Set([]byte("x"), []byte("y")) },
				"delete": func() error { return v.DeleteRange(1, 2) },
				"drop":   func() error { return l.Drop(99, 1) },
			} {
				if err := write(); err == nil || err.Error() != first.Error() {
					t.Fatalf("%v %d failed: %s afterwards: %v, want %v", rule.Ops, n, name, err, first)
				}
			}
		}
		strict := disk.CrashClone(vfs.CrashOptions{})
		if err := check(smallOptions(strict, seed+1), []*replicaModel{model}, false); err != nil {
			t.Fatalf("%v %d failed with %v: %v", rule.Ops, n, first, err)
		}
		if err := l.Close(); err != nil && first == nil {
			t.Fatal(err)
		}
		if rules.Hits() == 0 && first == nil {
			return
		}
	}
}

// TestOpeningFailsClearlyAndLosesNothing fails the n-th call while the log is opened.
func TestOpeningFailsClearlyAndLosesNothing(t *testing.T) {
	seed := testkit.Seed(t)
	disk := vfs.NewMem()
	model := newReplicaModel(key{7, 1}, testkit.NewRand(seed))
	l := mustOpen(t, smallOptions(disk, seed))
	life(t, l, []*replicaModel{model}, 200, 300)
	disk = disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		clone := disk.CrashClone(vfs.CrashOptions{})
		rules := vfs.NewRules(vfs.Rule{Ops: vfs.OpAny, Nth: n, Err: syscall.EIO})
		l, err := Open(smallOptions(vfs.NewFault(clone, rules), seed+int64(n)))
		if err == nil {
			if rules.Hits() > 0 {
				t.Fatalf("call %d failed and nobody noticed", n)
			}
			rules.Set()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if n < 10 {
				t.Fatalf("opening makes only %d calls", n)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("call %d: %v", n, err)
		}
		for _, keep := range []vfs.Keep{vfs.KeepNone, vfs.KeepAll} {
			left := clone.CrashClone(vfs.CrashOptions{KeepUnsynced: keep})
			if err := check(smallOptions(left, seed+int64(n)+1000), []*replicaModel{model}, false); err != nil {
				t.Fatalf("call %d failed, keep %d: %v", n, keep, err)
			}
		}
	}
}
