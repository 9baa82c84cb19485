package engine

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/rowcache"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// copyLimit is up to where Get copies a value. A smaller one lies among other rows, which a
// caller who keeps it would keep in memory too; a larger one mostly lies alone.
const copyLimit = 64 << 10

// Get reads the newest row of a key with a version not above at. The row's bytes are read-only
// and stay good. A tombstone is no row; an expired row is one. Reads at a version that is not
// kept fail with ErrSnapshotTooOld, at MaxVersion never. With Options.Clock an expired row is none, either.
func (db *DB) Get(key []byte, at Version) (row Row, ok bool, err error) {
	var r read
	r.begin(db, nil, key, at)
	ok, err = r.run(nil, &row)
	return cloned(row, ok, err)
}

// GetInto is Get into memory of the caller's: the row's value is dst[:0] with the value appended, and its key is key itself. It allocates
// only if the value does not fit. What is in dst is lost, also when there is no row.
func (db *DB) GetInto(dst, key []byte, at Version) (row Row, ok bool, err error) {
	var r read
	r.begin(db, nil, key, at)
	r.into = true
	ok, err = r.run(dst[:0], &row)
	return row, ok, err
}

// Get is as DB.Get, of what the snapshot sees.
func (s *Snapshot) Get(key []byte, at Version) (row Row, ok bool, err error) {
	var r read
	r.begin(s.db, s, key, at)
	ok, err = r.run(nil, &row)
	return cloned(row, ok, err)
}

// GetInto is as DB.GetInto, of what the snapshot sees.
func (s *Snapshot) GetInto(dst, key []byte, at Version) (row Row, ok bool, err error) {
	var r read
	r.begin(s.db, s, key, at)
	r.into = true
	ok, err = r.run(dst[:0], &row)
	return row, ok, err
}

// read is one point read on its way. First it asks the row cache, then the store; a row that it found in a table it gives to
// the cache.
type read struct {
	db       *DB
	snapshot *Snapshot // nil for the present
	query    rowcache.Query
	into     bool // the caller has memory for the value
}

// begin fills in a read that is zero.
func (r *read) begin(db *DB, s *Snapshot, key []byte, at Version) {
	q := &r.query
	r.db, r.snapshot = db, s
	q.Key, q.Hash, q.Version, q.Sequence = key, keyhash.Of(key), uint64(at), record.MaxSequence
	if s != nil {
		q.Sequence = s.applied.sequence
	}
}

// run sets row, which is zero before, if there is one.
func (r *read) run(dst []byte, row *Row) (ok bool, err error) {
	q, absence := &r.query, &r.db.absence
	if absence.likely() && r.absent() {
		absence.note(q.Hash, true)
		return false, nil
	}
	if value, hit := r.cached(dst); hit {
		absence.note(q.Hash, false)
		if r.db.expired(q.FoundExpiry) {
			return false, nil
		}
		row.Key, row.Value, row.Version, row.ExpiryMillis = q.Key, value, Version(q.FoundVersion), q.FoundExpiry
		return true, nil
	}
	return r.uncached(dst, row)
}

// uncached asks the store, and gives the cache what it finds there.
func (r *read) uncached(dst []byte, row *Row) (ok bool, err error) {
	var s search
	found, ok, err := r.stored(&s, dst)
	if err != nil {
		return false, err
	}
	r.db.absence.note(r.query.Hash, !ok)
	if !ok || r.db.expired(found.ExpiryMillis) {
		return false, nil
	}
	r.keep(&s, found.Value)
	*row = found
	return true, nil
}

// cloned gives a caller without memory of its own a key that stays good.
func cloned(row Row, ok bool, err error) (Row, bool, error) {
	if ok {
		row.Key = bytes.Clone(row.Key)
	}
	return row, ok, err
}

// cached asks the row cache. What it finds is the newest row of the key at this moment, so a read of the present at MaxVersion needs to
// know nothing else.
func (r *read) cached(dst []byte) ([]byte, bool) {
	if r.snapshot != nil && (r.snapshot.closed.Load() || r.query.Version < uint64(r.snapshot.floor())) ||
		r.snapshot == nil && r.query.Version != record.MaxVersion && r.query.Version < uint64(r.db.floorOf(r.db.applied.Load())) {
		return nil, false // stored says why
	}
	return r.db.rows.Get(&r.query, dst)
}

// stored looks into memory and tables.
func (r *read) stored(s *search, dst []byte) (Row, bool, error) {
	v, a, newest, err := r.acquire()
	if err != nil {
		return Row{}, false, err
	}
	defer v.unref()
	s.at = record.Key{User: r.query.Key, Version: r.query.Version, Sequence: a.sequence}
	s.hash, s.unordered, s.newest = r.query.Hash, a.unordered, newest
	if !v.searchMemory(s) {
		if err := v.searchTables(s); err != nil {
			return Row{}, false, err
		}
	}
	if !s.found || s.best.Kind == record.Delete {
		return Row{}, false, nil
	}
	value, err := r.value(s, dst)
	if err != nil {
		return Row{}, false, err
	}
	return Row{Key: r.query.Key, Value: value, Version: Version(s.best.Version), ExpiryMillis: s.best.Expiry}, true, nil
}

// value gives the value of what was found, in dst if the caller has memory.
func (r *read) value(s *search, dst []byte) (value []byte, err error) {
	value, shared := s.best.Value, true
	if s.best.Far.Raw > 0 {
		// What the cache of rows takes need not lie in that of blocks, too.
		keep := !r.db.rows.Takes(len(r.query.Key), int(s.best.Far.Raw))
		if value, shared, err = s.reader.Value(&s.best.Far, dst, keep); err != nil {
			return nil, err
		}
	}
	if shared && (r.into || len(value) <= copyLimit) {
		value = append(dst, value...)
	}
	return value, nil
}

// acquire gives the view to look into, what to see of it, and whether that is the newest of all.
func (r *read) acquire() (v *view, a *applied, newest bool, err error) {
	at := Version(r.query.Version)
	if s := r.snapshot; s != nil {
		if v, err = s.acquire(at); err != nil {
			return nil, nil, false, err
		}
		return v, s.applied, at >= s.applied.version && s.applied == r.db.applied.Load(), nil
	}
	if v = r.db.acquire(); v == nil {
		return nil, nil, false, ErrClosed
	}
	// Loaded after the view: see E2.
	a = r.db.applied.Load()
	if at < r.db.floorOf(a) {
		v.unref()
		return nil, nil, false, ErrSnapshotTooOld
	}
	return v, a, at >= a.version, nil
}

// keep gives the row to the cache, if it comes from a table and is the newest one of its key. Those in memory are found by hash as fast.
func (r *read) keep(b *search, value []byte) {
	if b.newest && b.inTable {
		r.db.rows.Fill(&r.query, &rowcache.Row{Version: b.best.Version, Sequence: b.best.Sequence, Expiry: b.best.Expiry, Value: value})
	}
}

// acquire gives a view that has all rows that the snapshot needs at a version.
func (s *Snapshot) acquire(at Version) (*view, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	v := s.db.acquire()
	if v == nil {
		return nil, ErrClosed
	}
	// The horizon is loaded after the view: what was dropped from the view was dropped by an
	// earlier horizon.
	if at < s.floor() {
		v.unref()
		return nil, ErrSnapshotTooOld
	}
	return v, nil
}

// floor is the lowest version that may be asked for. Without RetainVersions the snapshot itself keeps its newest rows.
func (s *Snapshot) floor() Version {
	if s.db.options.RetainVersions {
		return s.db.floorOf(s.db.applied.Load())
	}
	return s.applied.version
}

// search is one point read on its way through a view, newest place first.
type search struct {
	at        record.Key
	hash      uint64 // of the user key
	unordered bool   // an older place may have the higher version
	best      record.Row
	found     bool
	inTable   bool          // best is in a table
	reader    *table.Reader // of it
	newest    bool          // nothing that was visible when it looked is newer than what it looks for
}

// take considers a row; it reports whether the search is over.
func (s *search) take(r *record.Row, inTable bool) bool {
	if !s.found || record.CompareTime(r.Key, s.best.Key) < 0 {
		s.best, s.found, s.inTable = *r, true, inTable
	}
	return !s.unordered
}

// table looks into one table; it reports whether the search is over.
func (s *search) table(t *levels.Table) (bool, error) {
	p := t.Properties
	if p.MinVersion > s.at.Version || s.found && p.MaxVersion < s.best.Version || !t.Covers(s.at.User) {
		return false, nil
	}
	ranged := t.Ranges != nil && !seededbug.Enabled(seededbug.EngineRangeSkipTables) && s.ranges(t.Ranges, true)
	var row record.Row
	ok, err := t.Reader.Get(&s.at, s.hash, &row)
	if err != nil || !ok {
		return ranged && !s.unordered, err
	}
	over := s.take(&row, true)
	if s.best.Sequence == row.Sequence {
		s.reader = t.Reader
	}
	return over, nil
}

// ranges considers the newest range tombstone of a place that covers the key, as the row of the key that it stands for.
func (s *search) ranges(set *rangedel.Set, inTable bool) bool {
	version, sequence, ok := set.Newest(s.at)
	if ok {
		s.take(&record.Row{Key: record.Key{User: s.at.User, Version: version, Sequence: sequence}}, inTable)
	}
	return ok
}

// memory looks into one memtable; it reports whether the search is over.
func (s *search) memory(m *memtable.Memtable) (over bool) {
	if set := m.Ranges(); set != nil {
		over = s.ranges(set, false) && !s.unordered
	}
	var r record.Row
	return m.Get(s.at, &r) && s.take(&r, false) || over
}

func (v *view) searchMemory(s *search) bool {
	if s.memory(v.memory) {
		return true
	}
	for _, sealed := range v.sealed {
		if s.memory(sealed.memory) {
			return true
		}
	}
	return false
}

func (v *view) searchTables(s *search) error {
	for _, t := range v.set.Levels[0] {
		if over, err := s.table(t); over || err != nil {
			return err
		}
	}
	for level := 1; level < levels.Count; level++ {
		t := v.set.Find(level, s.at.User)
		if t == nil {
			continue
		}
		if over, err := s.table(t); over || err != nil {
			return err
		}
	}
	return nil
}
