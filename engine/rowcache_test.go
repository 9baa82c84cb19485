package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// putOne applies a batch of one row.
func putOne(t testing.TB, db *DB, key, value string, v Version) {
	t.Helper()
	apply(t, db, func(b *Batch) { b.Put([]byte(key), []byte(value), v, 0) })
}

// flushed is a store with one row in a table.
func flushed(t *testing.T, o Options) *DB {
	t.Helper()
	db := mustOpen(t, "db", o)
	putOne(t, db, "key", "old", 0)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	return db
}

func wantValue(t *testing.T, db *DB, want string) {
	t.Helper()
	if row, ok, err := db.Get([]byte("key"), MaxVersion); err != nil || !ok || string(row.Value) != want {
		t.Fatalf("%q, %v, %v is read, want %q", row.Value, ok, err, want)
	}
}

func TestARowIsCachedByItsFirstReadFromATable(t *testing.T) {
	db := flushed(t, small(vfs.NewMem()))
	defer mustClose(t, db)
	for range 3 {
		wantValue(t, db, "old")
	}
	if m := db.Metrics().RowCache; m.Fills != 1 || m.Hits != 2 || m.Misses != 1 || m.RowCount != 1 || m.Bytes == 0 {
		t.Fatalf("%+v", m)
	}
	dst, key := make([]byte, 0, 10), []byte("key")
	if n := testing.AllocsPerRun(100, func() {
		row, ok, err := db.GetInto(dst, key, MaxVersion)
		if err != nil || !ok || string(row.Value) != "old" || &row.Value[0] != &dst[:1][0] {
			t.Fatal(row, ok, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a hit", n)
	}
}

// RW1. The steps of a read, with a batch between any two of them.
func TestARowThatWasReadBeforeABatchIsNotCachedAfterIt(t *testing.T) {
	for _, mode := range []LogMode{LogOff, LogAlways, LogInterval, LogNever} {
		for between := range 3 {
			o := small(vfs.NewMem())
			o.Log = mode
			db := flushed(t, o)
			batch := func(after int) {
				if after == between {
					putOne(t, db, "key", "new", 0)
				}
			}
			var r read
			r.begin(db, nil, []byte("key"), MaxVersion)
			if _, hit := r.cached(nil); hit {
				t.Fatal("nothing was read yet")
			}
			batch(0)
			var s search
			row, ok, err := r.stored(&s, nil)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			batch(1)
			r.keep(&s, row.Value)
			batch(2)
			wantValue(t, db, "new")
			mustClose(t, db)
		}
	}
}

// RW1. Whole reads between the steps of a publication.
func TestARowThatIsReadWhileABatchIsPublishedIsNotCached(t *testing.T) {
	for between := range 2 {
		db := flushed(t, small(vfs.NewMem()))
		hashes := []uint64{keyhash.Of([]byte("key")), keyhash.Of([]byte("key"))}
		read := func(after int, want string) {
			if after == between {
				for range 2 {
					wantValue(t, db, want)
				}
			}
		}
		db.rows.Begin(hashes)
		read(0, "old")
		// A batch is published by the same steps, but for those of the cache, within these.
		rows := db.rows
		db.rows = nil
		putOne(t, db, "key", "new", 0)
		db.rows = rows
		read(1, "new")
		db.rows.End(hashes)
		wantValue(t, db, "new")
		if m := db.Metrics().RowCache; m.Fills != 0 {
			t.Errorf("%d rows were cached meanwhile", m.Fills)
		}
		mustClose(t, db)
	}
}

func TestVersionsBeforeACachedRowAreReadFromTheStore(t *testing.T) {
	o := small(vfs.NewMem())
	o.RetainVersions = true
	db := mustOpen(t, "db", o)
	defer mustClose(t, db)
	putOne(t, db, "key", "at 5", 5)
	before := db.Snapshot()
	defer before.Close()
	putOne(t, db, "key", "at 10", 10)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantValue(t, db, "at 10")
	}
	after := db.Snapshot()
	defer after.Close()
	hits := db.Metrics().RowCache.Hits
	for _, c := range []struct {
		get  func(key []byte, at Version) (Row, bool, error)
		at   Version
		want string
		hit  bool
	}{
		{db.Get, 4, "", false}, {db.Get, 5, "at 5", false}, {db.Get, 9, "at 5", false}, {db.Get, 10, "at 10", true},
		{db.Get, 11, "at 10", true}, {db.Get, MaxVersion, "at 10", true},
		{before.Get, 10, "at 5", false}, {before.Get, MaxVersion, "at 5", false},
		{after.Get, 9, "at 5", false}, {after.Get, 10, "at 10", true}, {after.Get, MaxVersion, "at 10", true},
	} {
		row, ok, err := c.get([]byte("key"), c.at)
		if err != nil || ok != (c.want != "") || string(row.Value) != c.want {
			t.Errorf("at %d: %q, %v, %v, want %q", c.at, row.Value, ok, err, c.want)
		}
		now := db.Metrics().RowCache.Hits
		if c.hit != (now > hits) {
			t.Errorf("at %d: a hit is %v", c.at, now > hits)
		}
		hits = now
	}
}

// TestReadsOfThePastAreNotCached has reads find rows that are not the newest of their key.
func TestReadsOfThePastAreNotCached(t *testing.T) {
	o := small(vfs.NewMem())
	o.RetainVersions = true
	db := mustOpen(t, "db", o)
	defer mustClose(t, db)
	putOne(t, db, "key", "at 5", 5)
	past := db.Snapshot()
	defer past.Close()
	putOne(t, db, "key", "at 10", 10)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if row, ok, err := db.Get([]byte("key"), 7); err != nil || !ok || string(row.Value) != "at 5" {
			t.Fatal(row, ok, err)
		}
		if row, ok, err := past.Get([]byte("key"), MaxVersion); err != nil || !ok || string(row.Value) != "at 5" {
			t.Fatal(row, ok, err)
		}
	}
	wantValue(t, db, "at 10")
	apply(t, db, func(b *Batch) { b.Delete([]byte("key"), 12) })
	if _, ok, err := db.Get([]byte("key"), MaxVersion); ok || err != nil {
		t.Fatal("a deleted row is found", err)
	}
}

func TestAClosedStoreServesNoCachedRow(t *testing.T) {
	db := flushed(t, small(vfs.NewMem()))
	s := db.Snapshot()
	for range 2 {
		wantValue(t, db, "old")
	}
	s.Close()
	if _, _, err := s.Get([]byte("key"), MaxVersion); !errors.Is(err, ErrClosed) {
		t.Fatalf("a closed snapshot: %v", err)
	}
	mustClose(t, db)
	if _, _, err := db.Get([]byte("key"), MaxVersion); !errors.Is(err, ErrClosed) {
		t.Fatalf("a closed store: %v", err)
	}
}

// racer is a store whose keys have numbers that only grow, with readers who know which they may see.
type racer struct {
	db    *DB
	keys  int
	least []atomic.Uint64 // acknowledged to the writer
	most  []atomic.Uint64 // given to Apply
}

func (r *racer) key(i int) []byte { return fmt.Appendf(nil, "key%04d", i) }

func (r *racer) value(i int, number uint64) []byte {
	return bytes.Repeat(binary.LittleEndian.AppendUint64(nil, number<<20|uint64(i)), 1+int(number+uint64(i))%40)
}

// check reads one key in one of the ways that there are.
func (r *racer) check(random *rand.Rand, dst []byte) error {
	i := random.IntN(r.keys)
	if random.IntN(2) == 0 {
		i %= 10
	}
	get, which := r.db.GetInto, "present"
	var s *Snapshot
	if random.IntN(4) == 0 {
		s = r.db.Snapshot()
		defer s.Close()
		get, which = s.GetInto, "snapshot"
	}
	least := r.least[i].Load()
	if s != nil {
		least = 0
	}
	row, ok, err := get(dst, r.key(i), MaxVersion)
	most := r.most[i].Load()
	if err != nil || !ok || len(row.Value) < 8 {
		return fmt.Errorf("%s, key %d: %v, %v", which, i, ok, err)
	}
	number := binary.LittleEndian.Uint64(row.Value) >> 20
	if number < least || number > most || !bytes.Equal(row.Value, r.value(i, number)) {
		return fmt.Errorf("%s, key %d: number %d of %d bytes, want %d to %d", which, i, number, len(row.Value), least, most)
	}
	if s == nil {
		return nil
	}
	again, ok, err := s.GetInto(nil, r.key(i), MaxVersion)
	if err != nil || !ok || binary.LittleEndian.Uint64(again.Value)>>20 != number {
		return fmt.Errorf("key %d: a snapshot sees number %d and then another: %v, %v", i, number, ok, err)
	}
	return nil
}

// write applies a batch with the next numbers of some keys.
func (r *racer) write(random *rand.Rand) error {
	b := r.db.NewBatch()
	some := map[int]uint64{}
	for range 1 + random.IntN(6) {
		i := random.IntN(r.keys)
		some[i] = r.most[i].Load() + 1
	}
	for i, number := range some {
		b.Put(r.key(i), r.value(i, number), 0, 0)
		r.most[i].Store(number)
	}
	if err := r.db.Apply(b); err != nil {
		return err
	}
	for i, number := range some {
		r.least[i].Store(number)
	}
	return nil
}

// E8, E10, RW1, RW2, RW3. Readers of the present and of snapshots, with one writer and a cache that is much too small, in all ways in which
// batches become visible.
func TestReadersSeeNoRowThatIsOlderOrNewerThanWhatIsVisible(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for mode := LogOff; mode <= LogNever; mode++ {
		o := small(vfs.NewMem())
		o.Log, o.LogSegmentBytes, o.RowCacheBytes = mode, 64<<10, 64<<10
		r := &racer{db: mustOpen(t, "db", o), keys: 300}
		r.least, r.most = make([]atomic.Uint64, r.keys), make([]atomic.Uint64, r.keys)
		b := r.db.NewBatch()
		for i := range r.keys {
			b.Put(r.key(i), r.value(i, 0), 0, 0)
		}
		if err := r.db.Apply(b); err != nil {
			t.Fatal(err)
		}
		var readers sync.WaitGroup
		var done atomic.Bool
		for reader := range 3 {
			readers.Go(func() {
				random, dst := rand.New(rand.NewPCG(seed, uint64(reader))), make([]byte, 0, 1024)
				for !done.Load() {
					if err := r.check(random, dst); err != nil {
						t.Errorf("mode %d, seed %d: %v", mode, seed, err)
						return
					}
				}
			})
		}
		random := rand.New(rand.NewPCG(seed, 50))
		for n := range 1200 {
			if err := r.write(random); err != nil {
				t.Fatal(err)
			}
			if n%100 == 99 {
				if err := r.db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		done.Store(true)
		readers.Wait()
		t.Logf("mode %d, seed %d: %+v", mode, seed, r.db.Metrics().RowCache)
		mustClose(t, r.db)
	}
}

// E3. Readers take and give back references in other stripes while views are replaced.
func TestAViewIsReleasedByItsLastReaderOnce(t *testing.T) {
	db := flushed(t, small(vfs.NewMem()))
	v := db.acquire()
	v.references[0].Add(1) // a second reader, who has gone to another stripe
	putOne(t, db, "key", "new", 0)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if !v.retired.Load() || v.released.Load() {
		t.Fatal("a view with readers is released, or one that was replaced is not retired")
	}
	v.unref()
	if v.released.Load() {
		t.Fatal("released before its last reader")
	}
	v.giveBack(17)
	if !v.released.Load() {
		t.Fatal("not released by its last reader")
	}
	mustClose(t, db)
}
