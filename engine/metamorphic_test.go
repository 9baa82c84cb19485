package engine

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// optionSet is a way to run a store.
type optionSet struct {
	name string
	Options
}

// optionSets are what one history is run under. Results must not depend on them.
func optionSets() []optionSet {
	set := func(name string, change func(o *Options)) optionSet {
		o := small(nil)
		change(&o)
		o.LogSegmentBytes, o.LogSyncInterval = 64<<10, time.Millisecond
		return optionSet{name, o}
	}
	return []optionSet{
		{"defaults", Options{}},
		set("small", func(*Options) {}),
		set("no-cache", func(o *Options) {
			o.CacheBytes, o.Log, o.Compression, o.ApartBytes = -1, LogInterval, CompressionNone, 16
		}),
		set("little-cache", func(o *Options) { o.CacheBytes, o.Log, o.ApartBytes = 16<<10, LogAlways, 20 }),
		set("eager", func(o *Options) {
			o.LevelBytes, o.CompactCount, o.StopCount, o.CompactionCount, o.Log = 64<<10, 1, 2, 3, LogAlways
			o.Compression, o.ApartBytes = CompressionZstd, 16
		}),
		set("no-row-cache", func(o *Options) { o.CompactCount, o.RowCacheBytes = 40, -1 }),
		set("late", func(o *Options) { o.CompactCount, o.StopCount, o.Log, o.ApartBytes = 2, 64, LogNever, -1 }),
		set("rows-only", func(o *Options) { o.BlockBytes, o.CompactCount, o.RowCacheBytes = 64<<10, 2, o.CacheBytes }),
		set("large-tables", func(o *Options) {
			o.TableBytes, o.LevelBytes, o.CompactCount, o.Compression, o.ApartBytes = 4<<20, 8<<20, 2, CompressionS2, 2000
		}),
		set("deep", func(o *Options) {
			o.LevelBytes, o.CompactCount, o.CompactionCount, o.BlockBytes, o.Log = 64<<10, 2, 4, 4<<10, LogInterval
		}),
		set("roomy", func(o *Options) { o.MemtableBytes, o.CacheBytes, o.Log = 4<<20, 4<<20, LogNever }),
		set("shared", func(o *Options) { o.Runtime, o.Log = sharedRuntime(), LogAlways }),
		set("one-by-one", func(o *Options) { o.CompactCount, o.CompactionCount, o.CacheBytes, o.BlockBytes = 1, 1, -1, 2<<10 }),
	}
}

// sharedRuntime has budgets that are smaller than what one store would take.
func sharedRuntime() *Runtime {
	return newRuntime(RuntimeOptions{CacheBytes: 200 << 10, RowCacheBytes: 100 << 10, MemtableBytes: 100 << 10, CompactionCount: 1})
}

// run is one history on one store.
type run struct {
	t       *testing.T
	name    string
	fs      vfs.FS
	options Options
	history *history
	model   *model
	db      *DB
	family  *Family // that all rows are in, or nil
	open    []*Snapshot
	copies  int
}

// TestEqualHistoriesGiveEqualResultsUnderAllOptions runs random histories under every set of options, with versions and
// without, and compares each answer with the model's, so that the answers of all are equal.
func TestEqualHistoriesGiveEqualResultsUnderAllOptions(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for sub := range uint64(*metaSeeds) {
		for _, o := range optionSets() {
			versions := sub%2 == 0
			o.RetainVersions = versions
			// Some keep all rows in a family, whose rows have the store's versions.
			o.Families = !versions && (o.name == "large-tables" || o.name == "shared" || o.name == "late")
			runHistory(t, fmt.Sprintf("%s, versions=%v, seed %d", o.name, versions, seed+sub), seed+sub, versions, o.Options, *metaSteps)
		}
	}
	t.Logf("engine: %d histories of %d operations under %d option sets are equal, seed %d", *metaSeeds, *metaSteps, len(optionSets()), seed)
}

func runHistory(t *testing.T, name string, seed uint64, versions bool, o Options, steps int) {
	t.Helper()
	o.FS = vfs.NewMem()
	r := &run{t: t, name: name, fs: o.FS, options: o, model: newModel()}
	r.history = &history{random: rand.New(rand.NewPCG(seed, 7)), versions: versions, keys: 300, millis: 1000}
	r.db = mustOpen(t, "db", o)
	if o.Families {
		r.family = mustCreate(t, r.db, modelFamily)
		created := r.db.applied.Load()
		r.model.applied.version, r.model.applied.sequence = created.version, created.sequence
	}
	for range steps {
		r.step()
	}
	r.closeSnapshots()
	r.must(r.db.Verify(t.Context()))
	r.model.checkAll(t, name, r.db, MaxVersion)
	mustClose(t, r.db)
}

func (r *run) step() {
	switch n := r.history.random.IntN(100); {
	case n < 55:
		r.apply()
	case n < 75:
		r.get()
	case n < 83:
		r.iterate()
	case n < 88:
		r.open = append(r.open, r.db.Snapshot())
	case n < 93:
		if i := len(r.open); i > 0 {
			i = r.history.random.IntN(i)
			r.open[i].Close()
			r.open = slices.Delete(r.open, i, i+1)
		}
	case n < 97:
		r.must(r.db.Flush())
	case n < 98:
		r.must(r.db.Compact(r.t.Context()))
	case n < 99:
		r.look()
		r.reopen()
	default:
		r.checkpoint()
	}
}

func (r *run) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s: %v", r.name, err)
	}
}

func (r *run) apply() {
	b := r.history.batch(r.model)
	r.model.apply(b)
	batch := r.db.NewBatch()
	b.fillIn(r.family, batch, r.model.index())
	r.must(r.db.Apply(batch))
}

// source picks a snapshot, a new one at times, with the sequence that it sees.
func (r *run) source() (s *Snapshot, done func()) {
	if i := r.history.random.IntN(len(r.open) + 1); i < len(r.open) {
		return r.open[i], func() {}
	}
	s = r.db.Snapshot()
	return s, s.Close
}

func (r *run) get() {
	key, at := r.history.key(), r.history.readVersion(r.model)
	row, ok, err := r.read(key, at)
	r.model.checkGet(r.t, r.name, row, ok, err, key, at, r.model.applied.sequence)
	s, done := r.source()
	defer done()
	row, ok, err = s.Get(key, at)
	if r.family != nil {
		row, ok, err = s.In(r.family).Get(key)
	}
	r.model.checkGet(r.t, r.name+" snapshot", row, ok, err, key, at, s.applied.sequence)
	if past := r.model.applied.horizon.Version; r.history.versions && past > 0 {
		if _, _, err := r.db.Get(key, past-1); !errors.Is(err, ErrSnapshotTooOld) {
			r.t.Fatalf("%s: read below the horizon: %v", r.name, err)
		}
	}
}

func (r *run) read(key []byte, at Version) (Row, bool, error) {
	if r.family != nil {
		return r.family.Get(key)
	}
	return r.db.Get(key, at)
}

// look opens what the death of the process would leave now for reading only.
func (r *run) look() {
	r.must(r.db.Sync())
	o := r.options
	o.FS, o.ReadOnly = r.fs.(*vfs.Mem).KillClone(), true
	db := mustOpen(r.t, "db", o)
	r.model.checkAll(r.t, r.name+" open for reading", db, MaxVersion)
	mustClose(r.t, db)
}

func (r *run) reopen() {
	r.closeSnapshots()
	mustClose(r.t, r.db)
	r.db = mustOpen(r.t, "db", r.options)
	if r.family != nil {
		var err error
		r.family, err = r.db.Family(modelFamily)
		r.must(err)
	}
	if got := *r.db.applied.Load(); got.position != r.model.applied.position || got.horizon != r.model.applied.horizon ||
		got.version != r.model.applied.version || got.sequence != r.model.applied.sequence {
		r.t.Fatalf("%s: reopened at %+v, want %+v", r.name, got, r.model.applied)
	}
}

func (r *run) closeSnapshots() {
	for _, s := range r.open {
		s.Close()
	}
	r.open = nil
}

func (r *run) checkpoint() {
	r.copies++
	dir := fmt.Sprintf("copies/%d", r.copies)
	p, err := r.db.Checkpoint(dir)
	r.must(err)
	if p != r.model.applied.position {
		r.t.Fatalf("%s: checkpoint at %v, want %v", r.name, p, r.model.applied.position)
	}
	copied := mustOpen(r.t, dir, r.options)
	r.model.checkAll(r.t, r.name+" "+dir, copied, r.history.readVersion(r.model))
	mustClose(r.t, copied)
	r.must(r.fs.RemoveAll(dir))
}

// iterate makes random moves and compares each with the model's list.
func (r *run) iterate() {
	random := r.history.random
	var start, end []byte
	if random.IntN(2) == 0 {
		start = r.history.key()
	}
	if random.IntN(2) == 0 {
		end = r.history.key()
	}
	at := r.history.readVersion(r.model)
	s, done := r.source()
	defer done()
	list := r.model.list(at, s.applied.sequence, start, end)
	it := movesOf(r.t, s, IteratorOptions{Start: start, End: end, At: at})
	defer it.Close()
	w := &walker{model: r.model, it: it}
	position := -1
	for range 30 {
		var ok bool
		var what string
		key := r.history.key()
		find := sort.Search(len(list), func(i int) bool { return bytes.Compare(list[i].Key, key) >= 0 })
		switch n := random.IntN(12); {
		case n == 0:
			what, ok, position = "First", w.move(it.First, it.Next), 0
		case n == 1:
			what, ok, position = "Last", w.move(it.Last, it.Prev), len(list)-1
		case n == 2:
			what, ok, position = "SeekGE", w.move(func() bool { return it.SeekGE(key) }, it.Next), find
		case n == 3:
			what, ok, position = "SeekLT", w.move(func() bool { return it.SeekLT(key) }, it.Prev), find-1
		case position < 0 || position >= len(list):
			continue
		case n < 8:
			what, ok, position = "Next", w.move(it.Next, it.Next), position+1
		default:
			what, ok, position = "Prev", w.move(it.Prev, it.Prev), position-1
		}
		want := position >= 0 && position < len(list)
		if ok != want || ok != it.Valid() || it.Err() != nil || ok && !equalRow(it.Row(), list[position]) {
			r.t.Fatalf("%s: %s(%q) in [%q, %q) at %d: %v %q, want %v; %v", r.name, what, key, start, end, at, ok, it.Row().Key, want, it.Err())
		}
	}
}
