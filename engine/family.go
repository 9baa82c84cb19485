package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/family"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/record"
)

// Errors of column families.
var (
	// ErrFamilies is returned where a store with families is used as one without, or the other way: by Open, when Options.Families is
	// not what the store was made with, and by writes of keys without a family.
	ErrFamilies = errors.New("store has column families, or has none")
	// ErrNoFamily is returned for a family that does not exist, or not any more.
	ErrNoFamily = errors.New("no such column family")
	// ErrFamilyExists is returned by CreateFamily for a name that is taken.
	ErrFamilyExists = errors.New("column family exists")
)

const (
	// maxFamilyNameBytes and maxFamilies bound what Open reads and the store keeps of them in memory.
	maxFamilyNameBytes = 255
	maxFamilies        = 4096
)

// FamilyOptions are the settings of one column family. They are stored with it.
type FamilyOptions struct {
	// TTL is how long a row lives that is put without an expiry of its own. It needs Options.Clock. Default 0: for ever.
	TTL time.Duration

	// Compression is how the blocks of the family's rows are compressed. Default nil: as Options.Compression says. Repair writes S2; the next
	// compaction of a table keeps to this again.
	Compression *Compression

	// NewestOnly keeps, in a store with Options.RetainVersions, of each key of this family only the newest row, and what open snapshots see. Reads of the
	// family at an older version than that of the snapshot fail with ErrSnapshotTooOld. Older rows go when a flush or a compaction comes by them.
	NewestOnly bool
}

// entry is what the catalog says of a family.
func (o FamilyOptions) entry(id uint64, name string) family.Entry {
	e := family.Entry{ID: id, Name: name, TTLMillis: uint64(o.TTL.Milliseconds()), NewestOnly: o.NewestOnly}
	if o.Compression != nil {
		e.OwnCompression, e.Compression = true, uint8(*o.Compression)
	}
	return e
}

// familyOptions are those that an entry says; false if it has a compression that this program does not know.
func familyOptions(e family.Entry) (o FamilyOptions, ok bool) {
	o.TTL, o.NewestOnly = time.Duration(e.TTLMillis)*time.Millisecond, e.NewestOnly
	if e.OwnCompression {
		c := Compression(e.Compression)
		o.Compression = &c
	}
	return o, !e.OwnCompression || Compression(e.Compression) <= CompressionZstd
}

// Family is a column family: keys of its own beside those of others, in one store. Batches and transactions over several are
// atomic, as is what a flush, a checkpoint or a crash leaves of them. It is safe for concurrent use, and good until it is dropped or
// the store is closed.
type Family struct {
	db      *DB
	name    string
	id      uint64
	prefix  []byte
	options FamilyOptions
	dropped atomic.Bool // stored under DB.write
}

// families are those of a store.
type families struct {
	// change is held over the whole of a creation or a drop. It is taken before DB.write.
	change sync.Mutex

	// pending is a batch, of which it is known that a drop is in it or before it, and that found no room to be durable; 0 for none.
	// Stored under change.
	pending atomic.Uint64

	live    atomic.Pointer[map[string]*Family] // never changed; stored under change
	styles  atomic.Pointer[family.Styles]      // of those; stored with them
	dropped atomic.Pointer[family.Dropped]     // those whose rows nobody needs, after a crash neither

	// mu is a leaf.
	mu     sync.Mutex
	sweep  map[*levels.Table]bool // tables that may have rows of dropped families
	coming *edit                  // is being installed, and its tables are not looked at yet
}

// Name is the name of the family.
func (f *Family) Name() string { return f.name }

// Options are the settings of the family.
func (f *Family) Options() FamilyOptions { return f.options }

// CreateFamily makes a family. It is there as durably as a batch that is applied at the same time. The store must have
// been made with Options.Families.
func (db *DB) CreateFamily(name string, o FamilyOptions) (*Family, error) {
	if err := db.checkFamily(name, o); err != nil {
		return nil, err
	}
	db.families.change.Lock()
	defer db.familiesChanged()
	live := *db.families.live.Load()
	if live[name] != nil {
		return nil, fmt.Errorf("create column family: %w", ErrFamilyExists)
	}
	if len(live) >= maxFamilies {
		return nil, fmt.Errorf("create column family: there are %d, no more are possible: %w", len(live), ErrTooLarge)
	}
	id, err := db.nextFamily()
	if err != nil {
		return nil, err
	}
	b := db.NewBatch()
	b.add(record.Put, family.NextKey(), family.AppendID(nil, id+1), 0, 0) // FM2
	b.add(record.Put, family.Key(id), o.entry(id, name).Encode(), 0, 0)
	db.forgetSwept(b)
	if err := db.Apply(b); err != nil {
		return nil, err
	}
	f := &Family{db: db, name: name, id: id, prefix: family.Prefix(id), options: o}
	next := maps.Clone(live)
	next[name] = f
	db.familiesAre(next)
	return f, nil
}

// familiesAre stores which families there are. Nobody can write to a new one before.
func (db *DB) familiesAre(live map[string]*Family) {
	var entries []family.Entry
	for name, f := range live {
		entries = append(entries, f.options.entry(f.id, name))
	}
	db.families.styles.Store(family.NewStyles(entries))
	db.families.live.Store(&live)
}

func (db *DB) checkFamily(name string, o FamilyOptions) error {
	switch {
	case !db.options.Families:
		return fmt.Errorf("create column family: set Options.Families when the store is made: %w", ErrFamilies)
	case len(name) == 0 || len(name) > maxFamilyNameBytes:
		return fmt.Errorf("name of a column family of %d bytes, must be 1 to %d: %w", len(name), maxFamilyNameBytes, ErrTooLarge)
	case o.TTL < 0 || o.TTL > 0 && o.TTL < time.Millisecond:
		return fmt.Errorf("time to live of %v, must be 1ms or more, or 0 for none: %w", o.TTL, ErrTooLarge)
	case o.TTL > 0 && db.options.Clock == nil:
		return ErrNoClock
	case o.Compression != nil && *o.Compression > CompressionZstd:
		return fmt.Errorf("compression %d of a column family, must be 0 to %d: %w", *o.Compression, CompressionZstd, ErrTooLarge)
	}
	return nil
}

// nextFamily gives an id that no family ever had. A repair may have lost the row that says so, or some of the entries: an id that an
// entry or a row still has is never given again.
func (db *DB) nextFamily() (uint64, error) {
	next := uint64(family.Catalog + 1)
	row, ok, err := db.Get(family.NextKey(), MaxVersion)
	if err != nil {
		return 0, err
	}
	if ok {
		if next, ok = family.DecodeID(row.Value); !ok {
			return 0, corrupt.Shape(manifest.Name, 0, "next column family", "an id", "something else")
		}
	}
	if err := db.entries(func(e family.Entry) error { next = max(next, e.ID+1); return nil }); err != nil {
		return 0, err
	}
	s := db.Snapshot()
	defer s.Close()
	it := s.NewIterator(IteratorOptions{})
	defer it.Close()
	if it.Last() {
		if id, ok := family.IDOf(it.Row().Key); ok {
			next = max(next, id+1)
		}
	}
	return next, it.Err()
}

// Family gives a family by its name.
func (db *DB) Family(name string) (*Family, error) {
	if live := db.families.live.Load(); live != nil && (*live)[name] != nil {
		return (*live)[name], nil
	}
	return nil, ErrNoFamily
}

// Families gives all families in the order of their names.
func (db *DB) Families() []*Family {
	live := db.families.live.Load()
	if live == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(*live), func(a, b *Family) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
}

// DropFamily removes a family with all that it has. From then on reads and writes of it fail with ErrNoFamily, those of
// older snapshots and transactions, too; iterators go on until they are closed. When it returns the drop is durable, which costs
// a flush. Compactions give the space back soon after. The name may be used again at once. After ErrDiskFull of the flush the family is
// gone all the same, and its space is given back when there is room for a later flush.
func (db *DB) DropFamily(name string) error {
	db.families.change.Lock()
	defer db.familiesChanged()
	f, err := db.Family(name)
	if err != nil {
		return err
	}
	b := db.NewBatch()
	e := f.options.entry(f.id, name)
	e.Dropped = true
	b.add(record.Put, family.Key(f.id), e.Encode(), 0, 0)
	db.forgetSwept(b)
	b.drops = f
	if err := db.Apply(b); err != nil {
		return err
	}
	next := maps.Clone(*db.families.live.Load())
	delete(next, name)
	db.familiesAre(next)
	// Only now nobody can see the rows, and after the flush a crash cannot bring the family back without some of them.
	if err := db.Flush(); err != nil {
		db.families.pending.Store(db.applied.Load().batch)
		return err
	}
	return db.loadDropped()
}

// familiesChanged ends a change.
func (db *DB) familiesChanged() {
	db.families.change.Unlock()
	if db.families.pending.Load() != 0 {
		db.wakeCompaction() // finishDrops may have found a change under way
	}
}

// finishDrops has the rows of those families swept whose drop is durable only now. Compactions begin with it, and it waits
// for nobody.
func (db *DB) finishDrops() {
	batch := db.families.pending.Load()
	if batch == 0 || db.durable.Load().LastBatch < batch || !db.families.change.TryLock() {
		return
	}
	defer db.families.change.Unlock()
	if err := db.loadDropped(); err != nil {
		db.options.Logger.Warn("rows of dropped column families not found yet", "dir", db.dir, "error", err)
	}
}

// loadDropped reads which families were dropped, and has every table rewritten that may have rows of them. Entries of
// which no table has rows any more are left to the next change of families.
func (db *DB) loadDropped() error {
	var ids []uint64
	err := db.entries(func(e family.Entry) error {
		if e.Dropped {
			ids = append(ids, e.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	db.families.pending.Store(0)
	dropped := family.NewDropped(ids)
	db.families.dropped.Store(dropped) // before the tables are listed: those to come are made with it, or looked at again
	if dropped == nil {
		return nil
	}
	v := db.acquire()
	if v == nil {
		return ErrClosed
	}
	defer v.unref()
	for _, tables := range v.set.Levels {
		db.sweepTables(dropped, tables)
	}
	db.wakeCompaction()
	return nil
}

// sweepTables has those tables rewritten that may have rows of dropped families.
func (db *DB) sweepTables(dropped *family.Dropped, tables []*levels.Table) {
	db.families.mu.Lock()
	defer db.families.mu.Unlock()
	db.sweepTablesLocked(dropped, tables)
}

func (db *DB) sweepTablesLocked(dropped *family.Dropped, tables []*levels.Table) {
	for _, t := range tables {
		if !dropped.Meets(t.Properties.Smallest, t.Properties.Largest) {
			continue
		}
		if db.families.sweep == nil {
			db.families.sweep = map[*levels.Table]bool{}
		}
		db.families.sweep[t] = true
	}
}

// tablesCome is called before the view has the tables of an edit. Until tablesCame nothing counts as swept: the inputs of a compaction
// are gone then, and what it made of them, if it began before a drop, is not listed.
func (db *DB) tablesCome(e edit) {
	db.families.mu.Lock()
	defer db.families.mu.Unlock()
	db.families.coming = &e
}

// tablesCame looks again at tables whose making began before a family was dropped.
func (db *DB) tablesCame(e edit) {
	db.families.mu.Lock()
	defer db.families.mu.Unlock()
	db.families.coming = nil
	now := db.families.dropped.Load() // after the view has the tables: who drops a family later finds them there
	if now == e.dropped {
		return
	}
	db.sweepTablesLocked(now, e.made())
}

// made are the new tables. One that only moves is in both lists.
func (e edit) made() (tables []*levels.Table) {
	for _, p := range e.add {
		if !slices.Contains(e.remove, p.Table) {
			tables = append(tables, p.Table)
		}
	}
	return tables
}

// pickSwept picks a compaction that rewrites one of those tables.
func (db *DB) pickSwept(s *levels.Set, running []*levels.Pick) *levels.Pick {
	db.finishDrops()
	db.families.mu.Lock()
	defer db.families.mu.Unlock()
	if len(db.families.sweep) == 0 {
		return nil
	}
	if db.leftToSweepLocked() == 0 {
		return nil
	}
	return s.PickWanted(func(t *levels.Table) bool { return db.families.sweep[t] }, running)
}

// leftToSweepLocked counts the tables that are still there. It is called under families.mu, so that the view is not older than
// what is listed.
func (db *DB) leftToSweepLocked() int {
	v := db.view.Load()
	if len(db.families.sweep) == 0 || v == nil {
		return 0
	}
	there := map[*levels.Table]bool{}
	for _, tables := range v.set.Levels {
		for _, t := range tables {
			there[t] = true
		}
	}
	maps.DeleteFunc(db.families.sweep, func(t *levels.Table, _ bool) bool { return !there[t] })
	return len(db.families.sweep)
}

// forgetSwept adds to a batch that the entries of dropped families go of which no rows are left.
func (db *DB) forgetSwept(b *Batch) {
	dropped := db.families.dropped.Load()
	if dropped == nil {
		return
	}
	db.families.mu.Lock()
	coming := db.families.coming
	left := db.leftToSweepLocked()
	db.families.mu.Unlock()
	if left > 0 || coming != nil && coming.dropped != dropped && len(coming.made()) > 0 {
		return
	}
	_ = db.entries(func(e family.Entry) error { // an entry that cannot be read stays
		if e.Dropped && dropped.Covers(family.Prefix(e.ID)) { // others wait for finishDrops
			b.add(record.Delete, family.Key(e.ID), nil, 0, 0)
		}
		return nil
	})
}

// loadFamilies reads the families of a store that is being opened.
func (db *DB) loadFamilies() error {
	if !db.options.Families {
		return nil
	}
	live := map[string]*Family{}
	err := db.entries(func(e family.Entry) error {
		if e.Dropped {
			return nil
		}
		o, ok := familyOptions(e)
		if !ok {
			return corrupt.Shape(manifest.Name, 0, "compression of a column family", "one that is known", e.Compression)
		}
		if o.TTL > 0 && db.options.Clock == nil {
			return fmt.Errorf("a column family has a time to live: %w", ErrNoClock)
		}
		live[e.Name] = &Family{db: db, name: e.Name, id: e.ID, prefix: family.Prefix(e.ID), options: o}
		return nil
	})
	if err != nil {
		return err
	}
	db.familiesAre(live)
	if db.options.ReadOnly {
		return nil
	}
	return db.loadDropped()
}

// entries reads the entries of all families.
func (db *DB) entries(visit func(family.Entry) error) error {
	s := db.Snapshot()
	defer s.Close()
	it := s.NewIterator(IteratorOptions{Start: after(family.NextKey()), End: family.End(family.Prefix(family.Catalog))})
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		e, ok := family.Decode(it.Row().Value)
		if !ok {
			return corrupt.Shape(manifest.Name, 0, "column family", "an entry", "something else")
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return it.Err()
}

// checkFamiliesLocked refuses a batch with keys of no family, of another store's, or of one that was dropped.
func (db *DB) checkFamiliesLocked(b *Batch) error {
	if b.raw && db.options.Families {
		return fmt.Errorf("key without a column family, use Batch.In or Tx.In: %w", ErrFamilies)
	}
	for _, f := range b.families {
		if err := f.check(db); err != nil {
			return err
		}
	}
	return nil
}

// check refuses a family that is not there, or in another store.
func (f *Family) check(db *DB) error {
	if f.db != db || f.dropped.Load() {
		return ErrNoFamily
	}
	return nil
}
