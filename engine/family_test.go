package engine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/engine/internal/family"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

func mustCreate(t testing.TB, db *DB, name string) *Family {
	t.Helper()
	f, err := db.CreateFamily(name, FamilyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// familyRun is a store with families and a model of it: the rows of each family by name.
type familyRun struct {
	t      *testing.T
	what   string
	random *rand.Rand
	disk   *vfs.Mem
	o      Options
	db     *DB
	model  map[string]map[string]string
	copies int
}

func (r *familyRun) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s: %v", r.what, err)
	}
}

// TestFamiliesAreApartAndAtomicTogether runs random histories over families that come and go, with batches and transactions over
// several, and closes and crashes of the store between them.
func TestFamiliesAreApartAndAtomicTogether(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for sub := range uint64(25) {
		r := &familyRun{
			t: t, what: fmt.Sprintf("seed %d", seed+sub), random: rand.New(rand.NewPCG(seed+sub, 4)),
			disk: vfs.NewMem(), model: map[string]map[string]string{},
		}
		sets := optionSets()
		r.o = sets[r.random.IntN(len(sets))].Options
		r.o.FS, r.o.Families, r.o.RetainVersions = r.disk, true, r.random.IntN(2) == 0
		r.db = mustOpen(t, "db", r.o)
		for range 200 {
			r.step()
		}
		r.check(r.db)
		r.must(r.db.Verify(t.Context()))
		mustClose(t, r.db)
	}
}

func (r *familyRun) step() {
	switch n := r.random.IntN(40); {
	case n < 4:
		r.create()
	case n < 6:
		r.drop()
	case n < 22:
		r.write()
	case n < 30:
		r.check(r.db)
	case n < 34:
		r.must(r.db.Flush())
	case n < 36:
		r.must(r.db.Compact(r.t.Context()))
	case n == 36:
		r.copies++
		dir := fmt.Sprint("copies/", r.copies)
		_, err := r.db.Checkpoint(dir)
		r.must(err)
		copied := mustOpen(r.t, dir, r.o)
		r.check(copied)
		mustClose(r.t, copied)
	default:
		r.reopen()
	}
}

func (r *familyRun) name() string { return fmt.Sprint("family", r.random.IntN(6)) }

func (r *familyRun) create() {
	name := r.name()
	o := FamilyOptions{NewestOnly: r.random.IntN(3) == 0}
	if c := Compression(r.random.IntN(8)); c <= CompressionZstd {
		o.Compression = &c
	}
	_, err := r.db.CreateFamily(name, o)
	if r.model[name] != nil {
		if !errors.Is(err, ErrFamilyExists) {
			r.t.Fatalf("%s: %s is made twice: %v", r.what, name, err)
		}
		return
	}
	r.must(err)
	r.model[name] = map[string]string{}
}

func (r *familyRun) drop() {
	name := r.name()
	f, _ := r.db.Family(name)
	err := r.db.DropFamily(name)
	if r.model[name] == nil {
		if !errors.Is(err, ErrNoFamily) {
			r.t.Fatalf("%s: drop of none: %v", r.what, err)
		}
		return
	}
	r.must(err)
	delete(r.model, name)
	b := r.db.NewBatch()
	b.In(f).Put([]byte("k"), nil, 0)
	if _, _, err := f.Get([]byte("k")); !errors.Is(err, ErrNoFamily) || !errors.Is(r.db.Apply(b), ErrNoFamily) {
		r.t.Fatalf("%s: a family that was dropped is used", r.what)
	}
}

// write changes some keys of several families, by a batch or a transaction.
func (r *familyRun) write() {
	if len(r.model) == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(r.model))
	tx := mustBegin(r.t, r.db, TxOptions{Isolation: Isolation(r.random.IntN(2))})
	b := r.db.NewBatch()
	inTx := r.random.IntN(2) == 0
	for range 1 + r.random.IntN(20) {
		name := names[r.random.IntN(len(names))]
		f, err := r.db.Family(name)
		r.must(err)
		key, value := fmt.Sprintf("k%02d", r.random.IntN(20)), strings.Repeat(fmt.Sprint(r.random.Uint32()), 1+r.random.IntN(20))
		put := r.random.IntN(4) > 0
		switch {
		case inTx && put:
			r.must(tx.In(f).Put([]byte(key), []byte(value), 0))
		case inTx:
			r.must(tx.In(f).Delete([]byte(key)))
		case put:
			b.In(f).Put([]byte(key), []byte(value), 0)
		default:
			b.In(f).Delete([]byte(key))
		}
		if delete(r.model[name], key); put {
			r.model[name][key] = value
		}
		if inTx {
			row, ok, err := tx.In(f).Get([]byte(key))
			if err != nil || ok != put || ok && (string(row.Key) != key || string(row.Value) != value) {
				r.t.Fatalf("%s: own write of %s in %s: %q %v %v", r.what, key, name, row.Value, ok, err)
			}
		}
	}
	r.must(tx.Commit())
	r.must(r.db.Apply(b))
}

func (r *familyRun) reopen() {
	if r.o.Log == LogAlways && r.random.IntN(2) == 0 {
		left := r.disk.CrashClone(vfs.CrashOptions{})
		mustClose(r.t, r.db)
		r.disk, r.o.FS = left, left
	} else {
		mustClose(r.t, r.db)
	}
	r.db = mustOpen(r.t, "db", r.o)
}

// check compares everything, both ways, by snapshots and by transactions.
func (r *familyRun) check(db *DB) {
	s := db.Snapshot()
	defer s.Close()
	tx := mustBegin(r.t, db, TxOptions{})
	defer tx.Rollback()
	var names []string
	for _, f := range db.Families() {
		names = append(names, f.Name())
		rows := r.model[f.Name()]
		keys := slices.Sorted(maps.Keys(rows))
		for _, it := range []mover{s.In(f).NewIterator(IteratorOptions{}), tx.In(f).NewIterator(IteratorOptions{})} {
			i := 0
			for ok := it.First(); ok; ok = it.Next() {
				if i >= len(keys) || string(it.Row().Key) != keys[i] || string(it.Row().Value) != rows[keys[i]] {
					r.t.Fatalf("%s: %s has %q at %d of %d", r.what, f.Name(), it.Row().Key, i, len(keys))
				}
				i++
			}
			for ok := it.Last(); ok; ok = it.Prev() {
				if i--; i < 0 || string(it.Row().Key) != keys[i] {
					r.t.Fatalf("%s: %s has %q at %d back", r.what, f.Name(), it.Row().Key, i)
				}
			}
			if err := it.Close(); i != 0 || err != nil {
				r.t.Fatalf("%s: %s: %d rows are left, %v", r.what, f.Name(), i, err)
			}
		}
		r.checkOne(s, f, rows)
	}
	if want := slices.Sorted(maps.Keys(r.model)); !slices.Equal(names, want) {
		r.t.Fatalf("%s: families %v, want %v", r.what, names, want)
	}
}

// checkOne reads one key in all ways.
func (r *familyRun) checkOne(s *Snapshot, f *Family, rows map[string]string) {
	key := fmt.Sprintf("k%02d", r.random.IntN(20))
	want, there := rows[key]
	row, ok, err := f.Get([]byte(key))
	into, okInto, errInto := f.GetInto(nil, []byte(key))
	old, okOld, errOld := s.In(f).Get([]byte(key))
	if err = errors.Join(err, errInto, errOld); err != nil || ok != there || okInto != there || okOld != there {
		r.t.Fatalf("%s: %s of %s is there: %v %v %v, want %v; %v", r.what, key, f.Name(), ok, okInto, okOld, there, err)
	}
	if ok && (string(row.Value) != want || string(into.Value) != want || string(old.Value) != want || string(row.Key) != key) {
		r.t.Fatalf("%s: %s of %s is %q %q %q, want %q", r.what, key, f.Name(), row.Value, into.Value, old.Value, want)
	}
	it := s.In(f).NewIterator(IteratorOptions{})
	defer it.Close()
	if it.SeekGE([]byte(key)) && string(it.Row().Key) < key || it.SeekLT([]byte(key)) && string(it.Row().Key) >= key {
		r.t.Fatalf("%s: a seek to %s comes to %s", r.what, key, it.Row().Key)
	}
}

// TestADroppedFamilyGivesItsSpaceBack drops one of two families with equally many rows, while others write.
func TestADroppedFamilyGivesItsSpaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := small(vfs.NewMem())
		o.Families = true
		db := mustOpen(t, "db", o)
		kept, gone := mustCreate(t, db, "kept"), mustCreate(t, db, "gone")
		const count = 4000
		for i := range count {
			b := db.NewBatch()
			for _, f := range []*Family{kept, gone} {
				b.In(f).Put(fmt.Appendf(nil, "%06d", i*7919%count), make([]byte, 64), 0)
			}
			if err := db.Apply(b); err != nil {
				t.Fatal(err)
			}
		}
		rowsOfGone := func() int { return rowsInTables(db, gone) }
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		if n := rowsOfGone(); n < count {
			t.Fatalf("%d rows of the family are on the disk", n)
		}
		if err := db.DropFamily("gone"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // for the compactions
		if n := rowsOfGone(); n != 0 {
			t.Fatalf("%d rows of a dropped family stay", n)
		}
		again := mustCreate(t, db, "gone")
		if _, ok, err := again.Get([]byte("000001")); ok || err != nil || again.id == gone.id {
			t.Fatalf("a new family of the same name has a row of the old one: %v %v, id %d", ok, err, again.id)
		}
		if _, ok, err := db.Get([]byte{0, byte(gone.id)}, MaxVersion); ok || err != nil {
			t.Fatalf("the entry of the dropped family is left: %v %v", ok, err)
		}
		mustClose(t, db)
		db = mustOpen(t, "db", o)
		if f, err := db.Family("kept"); err != nil {
			t.Fatal(err)
		} else if _, ok, err := f.Get([]byte("000001")); !ok || err != nil {
			t.Fatal(ok, err)
		}
		mustClose(t, db)
	})
}

// TestADropThatFoundNoRoomIsSweptWhenThereIsRoom also has an older drop, whose entry is forgotten meanwhile.
func TestADropThatFoundNoRoomIsSweptWhenThereIsRoom(t *testing.T) {
	for _, reopen := range []bool{false, true} {
		disk := &limited{FS: vfs.NewMem(), limit: 1 << 40}
		o := small(disk)
		o.Families = true
		db := mustOpen(t, "db", o)
		first, second := mustCreate(t, db, "first"), mustCreate(t, db, "second")
		for _, f := range []*Family{first, second} {
			for i := range 100 {
				apply(t, db, func(b *Batch) { b.In(f).Put(fmt.Appendf(nil, "%d", i), []byte("v"), 0) })
			}
		}
		if err := errors.Join(db.Flush(), db.DropFamily("first"), db.Compact(t.Context())); err != nil {
			t.Fatal(err)
		}
		disk.resize(0)
		if err := db.DropFamily("second"); !errors.Is(err, ErrDiskFull) {
			t.Fatal(err)
		}
		disk.resize(1 << 40)
		mustCreate(t, db, "third")
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		if reopen {
			mustClose(t, db)
			db = mustOpen(t, "db", o)
		}
		testkit.Eventually(t, time.Minute, func() bool { return rowsInTables(db, second) == 0 }, "rows of a dropped family stay")
		mustClose(t, db)
	}
}

// TestEntriesStayWhileATableComesIn is the moment at which a compaction that began before a drop has replaced its inputs, and its
// output is not listed yet.
func TestEntriesStayWhileATableComesIn(t *testing.T) {
	o := small(vfs.NewMem())
	o.Families = true
	db := mustOpen(t, "db", o)
	gone := mustCreate(t, db, "gone")
	if err := db.DropFamily("gone"); err != nil {
		t.Fatal(err)
	}
	entry := func() bool {
		_, ok, err := db.Get(family.Key(gone.id), MaxVersion)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	before := edit{add: []levels.Placed{{Table: &levels.Table{}}}} // made before the drop
	db.tablesCome(before)
	mustCreate(t, db, "meanwhile")
	if !entry() {
		t.Error("the entry is gone while rows of the family may come")
	}
	db.tablesCame(edit{})
	db.tablesCome(edit{add: before.add, dropped: db.families.dropped.Load()})
	mustCreate(t, db, "after")
	if entry() {
		t.Error("the entry stays")
	}
	db.tablesCame(edit{})
	mustClose(t, db)
}

// rowsInTables counts the rows of a family on the disk.
func rowsInTables(db *DB, f *Family) (n int) {
	v := db.acquire() // or a compaction closes the tables
	defer v.unref()
	for _, tables := range v.set.Levels {
		for _, table := range tables {
			c := table.Reader.NewCursor(false)
			for row := c.Seek(nil, false); row != nil; row = c.Step() {
				if strings.HasPrefix(string(row.User), string(f.prefix)) {
					n++
				}
			}
			if err := c.Err(); err != nil {
				panic(err)
			}
		}
	}
	return n
}

func TestAStoreIsOneOfFamiliesOrNone(t *testing.T) {
	fs := vfs.NewMem()
	plain, with := Options{FS: fs}, Options{FS: fs, Families: true}
	mustClose(t, mustOpen(t, "plain", plain))
	db := mustOpen(t, "with", with)
	f := mustCreate(t, db, "f")
	b := db.NewBatch()
	b.Put([]byte("k"), nil, 0, 0)
	if err := db.Apply(b); !errors.Is(err, ErrFamilies) {
		t.Fatalf("a key without a family: %v", err)
	}
	tx := mustBegin(t, db, TxOptions{})
	if err := errors.Join(tx.Put([]byte("k"), nil, 0)); !errors.Is(err, ErrFamilies) || !errors.Is(tx.Delete([]byte("k")), ErrFamilies) {
		t.Fatalf("a key without a family in a transaction: %v", err)
	}
	tx.Rollback()
	for _, name := range []string{"", strings.Repeat("n", maxFamilyNameBytes+1)} {
		if _, err := db.CreateFamily(name, FamilyOptions{}); !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
	}
	if _, err := db.CreateFamily("ttl", FamilyOptions{TTL: time.Second}); !errors.Is(err, ErrNoClock) {
		t.Fatal(err)
	}
	if _, _, err := f.Get(nil); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	other := mustOpen(t, "other", Options{FS: fs, Families: true})
	b = other.NewBatch()
	b.In(f).Put([]byte("k"), nil, 0)
	if err := other.Apply(b); !errors.Is(err, ErrNoFamily) {
		t.Fatalf("a family of another store: %v", err)
	}
	mustClose(t, other)
	mustClose(t, db)
	for dir, o := range map[string]Options{"plain": with, "with": plain} {
		if _, err := Open(dir, o); !errors.Is(err, ErrFamilies) {
			t.Fatalf("%s: %v", dir, err)
		}
	}
	db = mustOpen(t, "plain", plain)
	if _, err := db.CreateFamily("f", FamilyOptions{}); !errors.Is(err, ErrFamilies) {
		t.Fatal(err)
	}
	mustClose(t, db)
}

func TestAFamilyHasItsOwnTimeToLive(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_000_000))
	o := Options{FS: vfs.NewMem(), Families: true, Clock: now}
	db := mustOpen(t, "db", o)
	short, err := db.CreateFamily("short", FamilyOptions{TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	long := mustCreate(t, db, "long")
	b := db.NewBatch()
	b.In(short).Put([]byte("k"), nil, 0)
	b.In(short).PutTTL([]byte("mine"), nil, time.Minute)
	b.In(long).Put([]byte("k"), nil, 0)
	if err := db.Apply(b); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	db = mustOpen(t, "db", o)
	for _, at := range []struct {
		wait time.Duration
		want [3]bool
	}{{0, [3]bool{true, true, true}}, {time.Second, [3]bool{false, true, true}}, {time.Hour, [3]bool{false, false, true}}} {
		now.Advance(at.wait)
		short, _ = db.Family("short")
		long, _ = db.Family("long")
		_, k, _ := short.Get([]byte("k"))
		_, mine, _ := short.Get([]byte("mine"))
		_, l, _ := long.Get([]byte("k"))
		if got := [3]bool{k, mine, l}; got != at.want {
			t.Fatalf("after %v: %v, want %v", at.wait, got, at.want)
		}
	}
	mustClose(t, db)
	o.Clock = nil
	if _, err := Open("db", o); !errors.Is(err, ErrNoClock) {
		t.Fatal(err)
	}
}

// TestFamiliesComeAndGoWhileOthersServe creates and drops families while two others have equal rows in every snapshot.
func TestFamiliesComeAndGoWhileOthersServe(t *testing.T) {
	o := small(vfs.NewMem())
	o.Families = true
	db := mustOpen(t, "db", o)
	left, right := mustCreate(t, db, "left"), mustCreate(t, db, "right")
	var group sync.WaitGroup
	done := make(chan struct{})
	group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if err := db.Update(t.Context(), TxOptions{}, func(tx *Tx) error {
				value := fmt.Append(nil, i)
				return errors.Join(tx.In(left).Put([]byte("k"), value, 0), tx.In(right).Put([]byte("k"), value, 0))
			}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	group.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			s := db.Snapshot()
			a, _, err := s.In(left).Get([]byte("k"))
			b, _, errB := s.In(right).Get([]byte("k"))
			s.Close()
			if err = errors.Join(err, errB); err != nil || string(a.Value) != string(b.Value) {
				t.Errorf("a snapshot sees %q and %q, %v", a.Value, b.Value, err)
				return
			}
		}
	})
	for i := range 20 {
		f := mustCreate(t, db, "other")
		b := db.NewBatch()
		for k := range 50 {
			b.In(f).Put(fmt.Append(nil, i, k), make([]byte, 100), 0)
		}
		if err := errors.Join(db.Apply(b), db.DropFamily("other")); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	group.Wait()
	mustClose(t, db)
}
