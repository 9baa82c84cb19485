package engine

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// crash is a disk as a crash left it, and what had been promised before.
type crash struct {
	disk    *vfs.Mem
	killed  bool     // only the process died
	durable int      // batches that were acknowledged as durable before
	written int      // and those that only the death of the machine may lose
	begun   int      // batches that had been given to Apply by then
	copies  []copied // checkpoints that were complete
	when    string
}

// copied is a complete checkpoint.
type copied struct {
	dir   string
	index int
}

// lineage is one disk through several lives of its store: each is opened with options of its own, works, and is cut
// short; the next one begins with what one of the crashes left.
type lineage struct {
	t        *testing.T
	what     string
	random   *rand.Rand
	versions bool
	disk     *vfs.Mem
	history  *history
	model    *model // since the life began

	prefixes map[int]*model
	durable  int // batches that are durable before the next life
	dirs     int // checkpoints made
	points   int
}

// TestForgettingLeavesAPrefix takes, at the calls of many short lives to their disks, what a crash would leave, and
// opens each: with any options the store must open and equal the model after exactly the batches up to its
// position, which is at or behind what had been acknowledged as durable (E1), and so must every checkpoint that was complete.
// Applying the rest again must give what the whole history gave (E4).
func TestForgettingLeavesAPrefix(t *testing.T) {
	const lives = 4
	seed := uint64(testkit.Seed(t))
	points, lineages := 0, 0
	for ; points < *crashPoints; lineages++ {
		l := newLineage(t, seed+uint64(lineages))
		for n := 0; n < lives && points+l.points < *crashPoints; n++ {
			l.what = fmt.Sprintf("seed %d, life %d", seed+uint64(lineages), n)
			l.life()
		}
		points += l.points
	}
	t.Logf("engine: %d crash points in %d lineages, seed %d: nothing acknowledged was lost, no holes, all opened", points, lineages, seed)
}

func newLineage(t *testing.T, seed uint64) *lineage {
	random := rand.New(rand.NewPCG(seed, 9))
	versions := random.IntN(2) == 0
	return &lineage{
		t: t, random: random, versions: versions, disk: vfs.NewMem(), model: newModel(),
		history: &history{random: random, versions: versions, keys: 20 + random.IntN(60), millis: 1000},
	}
}

// options are new ones for each life. Versions that are not kept cannot be asked for later.
func (l *lineage) options(disk *vfs.Mem) Options {
	sets := optionSets()
	o := sets[l.random.IntN(len(sets))].Options
	o.FS = disk
	o.Families = false // batches of the model are raw
	o.RetainVersions = l.versions || l.random.IntN(2) == 0
	return o
}

// life opens the store, works on it and checks what crashes would have left.
func (l *lineage) life() {
	l.history.small = l.random.IntN(8) > 0
	r := &recorder{disk: l.disk, random: rand.New(rand.NewPCG(l.random.Uint64(), 10)), durable: l.durable}
	r.begun.Store(int64(l.model.index()))
	l.disk.OnCall(r.called)
	o := l.options(l.disk)
	db := mustOpen(l.t, "db", o)
	r.db.Store(db)
	if got := int(db.Applied().Index); got != l.model.index() {
		l.t.Fatalf("%s: opened at %d, want %d", l.what, got, l.model.index())
	}
	r.acknowledge(l.model.index())
	for range 8 + l.random.IntN(40) {
		l.step(db, o.Log, r)
	}
	mustClose(l.t, db)
	r.acknowledge(l.model.index())
	l.disk.OnCall(nil)

	l.prefixes = map[int]*model{}
	pick := l.random.IntN(len(r.crashes))
	next, found := r.crashes[pick].disk.KillClone(), 0 // as no check has opened it
	for i, c := range r.crashes {
		index := l.check(fmt.Sprintf("%s, crash %d at %s", l.what, i, c.when), c)
		if i == pick {
			found = index
		}
	}
	l.disk, l.durable = next, r.crashes[pick].durable
	began := l.prefix(l.durable).after() // another crash may take what this one left, until the next life has opened it
	for _, b := range l.model.since(l.durable)[:found-l.durable] {
		began.apply(b)
	}
	l.model = began
}

func (l *lineage) step(db *DB, mode LogMode, r *recorder) {
	b := l.history.batch(l.model)
	l.model.apply(b)
	r.begun.Store(int64(l.model.index()))
	apply(l.t, db, func(batch *Batch) { b.fill(batch, l.model.index()) })
	switch mode {
	case LogAlways:
		r.acknowledge(l.model.index())
	case LogNever:
		r.write(l.model.index())
	}
	var err error
	switch n := l.random.IntN(40); {
	case n < 5:
		err = db.Flush()
	case n == 5:
		err = db.Sync()
	case n == 6:
		err = db.Compact(l.t.Context())
	case n == 7:
		l.dirs++
		dir := fmt.Sprintf("copies/%d", l.dirs)
		if _, err = db.Checkpoint(dir); err == nil {
			r.copy(copied{dir, l.model.index()})
		}
	default:
		return
	}
	if err != nil {
		l.t.Fatalf("%s: %v", l.what, err)
	}
	r.acknowledge(l.model.index())
}

// check opens a crashed disk and compares it with the model. It tells how many batches were there.
func (l *lineage) check(what string, c crash) int {
	l.points++
	least := c.durable
	if c.killed {
		least = max(least, c.written)
	}
	db := l.open(what, "db", c.disk, least, c.begun)
	index := int(db.Applied().Index)
	if l.random.IntN(10) == 0 {
		l.replay(what, db, index)
	}
	mustClose(l.t, db)
	if len(c.copies) > 0 {
		last := c.copies[len(c.copies)-1]
		mustClose(l.t, l.open(what+": "+last.dir, last.dir, c.disk, last.index, last.index))
	}
	return index
}

// open opens a store that must hold a prefix of the history, and compares it with that.
func (l *lineage) open(what, dir string, disk *vfs.Mem, least, most int) *DB {
	l.t.Helper()
	db, err := Open(dir, l.options(disk))
	if err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	p := db.Applied()
	if p != db.Durable() || int(p.Index) < least || int(p.Index) > most {
		l.t.Fatalf("%s: at %v, want %d to %d", what, p, least, most)
	}
	m := l.prefix(int(p.Index))
	if db.Horizon() != m.applied.horizon || db.LastVersion() != m.applied.version {
		l.t.Fatalf("%s: horizon %v, version %d, want %v, %d", what, db.Horizon(), db.LastVersion(), m.applied.horizon, m.applied.version)
	}
	m.checkAll(l.t, what, db, MaxVersion)
	if l.versions && l.random.IntN(4) == 0 {
		m.checkAll(l.t, what, db, l.history.readVersion(m))
	}
	return db
}

// prefix is the model after so many batches. Many crashes leave the same.
func (l *lineage) prefix(index int) *model {
	if l.prefixes[index] == nil {
		l.prefixes[index] = l.model.prefix(index)
	}
	return l.prefixes[index]
}

// replay applies what the crash lost again, and reads every byte.
func (l *lineage) replay(what string, db *DB, from int) {
	for i, b := range l.model.since(from) {
		apply(l.t, db, func(batch *Batch) { b.fill(batch, from+i+1) })
	}
	l.model.checkAll(l.t, what+" after replay", db, MaxVersion)
	if err := db.Verify(l.t.Context()); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
}

// recorder takes crashes of a disk while a store works on it.
type recorder struct {
	disk *vfs.Mem
	db   atomic.Pointer[DB]

	begun atomic.Int64 // batches given to Apply

	mu      sync.Mutex // the calls come from several goroutines
	random  *rand.Rand
	durable int // batches acknowledged as durable
	written int // or as written
	copies  []copied
	crashes []crash
}

func (r *recorder) acknowledge(index int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.durable = max(r.durable, index)
}

func (r *recorder) write(index int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written = index
}

func (r *recorder) copy(c copied) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.copies = append(r.copies, c)
}

// killed is the death of the process alone: the next one begins with what is not synced.
const killed = vfs.KeepAll

// called is told of a call to the disk before it changes anything.
func (r *recorder) called(op vfs.Op, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, keep := range []vfs.Keep{vfs.KeepNone, vfs.KeepRandom, vfs.KeepRandom, killed} {
		if r.random.IntN(3) > 0 {
			continue
		}
		c := crash{when: fmt.Sprintf("%v %s", op, name), killed: keep == killed, durable: r.durable, written: r.written, copies: r.copies}
		if db := r.db.Load(); db != nil {
			c.durable = max(c.durable, int(db.Durable().Index))
		}
		if keep == killed {
			c.disk = r.disk.KillClone()
		} else {
			c.disk = r.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: keep, Rand: r.random, BlockBytes: []int{512, 4096}[r.random.IntN(2)]})
		}
		c.begun = int(r.begun.Load())
		r.crashes = append(r.crashes, c)
	}
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
		apply(t, db, func(batch *Batch) { b.fill(batch, m.index()) })
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

// TestWhatOpenTellsIsDurable kills the process where the manifest has its new name and the directory is not synced, opens the
// store, and then takes the power away: what Open has told must be there, and the old state may be gone only if the new one is (E7).
func TestWhatOpenTellsIsDurable(t *testing.T) {
	disk := vfs.NewMem()
	var kills []*vfs.Mem
	disk.OnCall(func(op vfs.Op, _ string) {
		if op == vfs.OpSyncDir {
			kills = append(kills, disk.KillClone())
		}
	})
	db := mustOpen(t, "db", small(disk))
	for i := range 12 {
		apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0); b.SetPosition(Position{Index: uint64(i + 1)}) })
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, db)
	disk.OnCall(nil)
	for i, kill := range kills {
		db := mustOpen(t, "db", small(kill))
		told := db.Durable()
		left := kill.CrashClone(vfs.CrashOptions{})
		mustClose(t, db)
		db = mustOpen(t, "db", small(left))
		if db.Applied().Index < told.Index {
			t.Fatalf("kill %d: Open told %v, and a crash left %v", i, told, db.Applied())
		}
		mustClose(t, db)
	}
}
