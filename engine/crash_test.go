package engine

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// crash is a disk as a crash left it, and what had been promised before.
type crash struct {
	disk    *vfs.Mem
	durable uint64 // Durable().Index when the crash began
	when    string
}

// TestForgettingLeavesAPrefix runs a history, takes what a crash would leave at many of its calls
// to the disk, and reopens each: the store must equal the model after exactly the batches up to
// its position, which is at or behind what Durable had said (E1); applying the rest again must
// give what the whole history gave (E4).
func TestForgettingLeavesAPrefix(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	total := 0
	for _, versions := range []bool{false, true} {
		for name, o := range optionSets() {
			o.RetainVersions = versions
			crashes, m := runAndCrash(t, seed, versions, o)
			total += len(crashes)
			for i, c := range crashes {
				checkCrash(t, fmt.Sprintf("%s versions=%v crash %d at %s", name, versions, i, c.when), c, m, o)
			}
		}
	}
	t.Logf("%d crashes", total)
}

func runAndCrash(t *testing.T, seed uint64, versions bool, o Options) ([]crash, *model) {
	t.Helper()
	disk := vfs.NewMem()
	o.FS = disk
	h := &history{random: rand.New(rand.NewPCG(seed, 9)), versions: versions, keys: 150, millis: 1000}
	keep := rand.New(rand.NewPCG(seed, 10))
	found := make(chan crash, 4096)
	var db atomic.Pointer[DB]
	random := make(chan *rand.Rand, 1) // hands the one source of chance to one goroutine at a time
	random <- keep
	disk.OnCall(func(op vfs.Op, name string) {
		r := <-random
		defer func() { random <- r }()
		if r.IntN(20) > 0 {
			return
		}
		c := crash{when: fmt.Sprintf("%v %s", op, name)}
		if d := db.Load(); d != nil {
			c.durable = d.Durable().Index
		}
		c.disk = disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.Keep(r.IntN(3)), Rand: r, BlockBytes: 512})
		select {
		case found <- c:
		default:
		}
	})
	m := newModel()
	opened := mustOpen(t, "db", o)
	db.Store(opened)
	for range 400 {
		b := h.batch(m)
		m.apply(b)
		apply(t, opened, func(batch *Batch) { b.fill(batch, len(m.batches)) })
		if h.random.IntN(20) == 0 {
			if err := opened.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, opened)
	disk.OnCall(nil)
	close(found)
	var crashes []crash
	for c := range found {
		crashes = append(crashes, c)
	}
	return crashes, m
}

func checkCrash(t *testing.T, what string, c crash, whole *model, o Options) {
	t.Helper()
	o.FS = c.disk
	db := mustOpen(t, "db", o)
	p := db.Applied()
	if p != db.Durable() || p.Index < c.durable || p.Index > uint64(len(whole.batches)) {
		t.Fatalf("%s: position %v, had been durable: %d", what, p, c.durable)
	}
	m := whole.replay(int(p.Index))
	if db.Horizon() != m.applied.horizon || db.LastVersion() != m.applied.version {
		t.Fatalf("%s: horizon %v, want %v", what, db.Horizon(), m.applied.horizon)
	}
	m.checkAll(t, what, db, MaxVersion)
	if o.RetainVersions {
		m.checkAll(t, what, db, max(m.applied.horizon.Version, m.applied.version/2))
	}
	for i := int(p.Index); i < len(whole.batches); i++ {
		apply(t, db, func(batch *Batch) { whole.batches[i].fill(batch, i+1) })
	}
	whole.checkAll(t, what+" after replay", db, MaxVersion)
	mustClose(t, db)
}

// TestTheManifestNamesOnlyTablesWhoseNamesAreDurable crashes where the name of a new manifest may have reached the disk by
// itself: then those of the tables in it must have, too (M1).
func TestTheManifestNamesOnlyTablesWhoseNamesAreDurable(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	r := rand.New(rand.NewPCG(seed, 11))
	disk := vfs.NewMem()
	db := mustOpen(t, "db", Options{FS: disk})
	var clones []*vfs.Mem
	disk.OnCall(func(op vfs.Op, _ string) {
		if op != vfs.OpSyncDir {
			return
		}
		for range 200 {
			clones = append(clones, disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepRandom, Rand: r}))
		}
	})
	h := &history{random: rand.New(rand.NewPCG(seed, 12)), keys: 50, millis: 1000}
	m := newModel()
	for range 4 {
		b := h.batch(m)
		m.apply(b)
		apply(t, db, func(batch *Batch) { b.fill(batch, len(m.batches)) })
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	disk.OnCall(nil)
	mustClose(t, db)
	if len(clones) == 0 {
		t.Fatal("no directory was synced")
	}
	for _, clone := range clones {
		mustClose(t, mustOpen(t, "db", Options{FS: clone}))
	}
}
