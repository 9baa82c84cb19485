package engine

import (
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/record"
)

// copyLimit is up to where Get copies a value. A smaller one lies among other rows, which a
// caller who keeps it would keep in memory too; a larger one mostly lies alone.
const copyLimit = 64 << 10

// Get reads the newest row of a key with a version not above at. The row's bytes are read-only
// and stay good. A tombstone is no row; an expired row is one. Reads at a version that is not
// kept fail with ErrSnapshotTooOld, at MaxVersion never.
func (db *DB) Get(key []byte, at Version) (Row, bool, error) {
	v := db.acquire()
	if v == nil {
		return Row{}, false, ErrClosed
	}
	defer v.unref()
	// Loaded after the view: see E2.
	a := db.applied.Load()
	if at < db.floorOf(a) {
		return Row{}, false, ErrSnapshotTooOld
	}
	return v.get(record.Key{User: key, Version: uint64(at), Sequence: a.sequence}, a.unordered)
}

// Get is as DB.Get, of what the snapshot sees.
func (s *Snapshot) Get(key []byte, at Version) (Row, bool, error) {
	v, err := s.acquire(at)
	if err != nil {
		return Row{}, false, err
	}
	defer v.unref()
	return v.get(record.Key{User: key, Version: uint64(at), Sequence: s.applied.sequence}, s.applied.unordered)
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
	// earlier horizon. Without RetainVersions the snapshot itself keeps its newest rows.
	floor := s.applied.version
	if s.db.options.RetainVersions {
		floor = s.db.floorOf(s.db.applied.Load())
	}
	if at < floor {
		v.unref()
		return nil, ErrSnapshotTooOld
	}
	return v, nil
}

// search is one point read on its way through a view, newest place first.
type search struct {
	at        record.Key
	unordered bool // an older place may have the higher version
	best      record.Row
	found     bool
}

// take considers a row; it reports whether the search is over.
func (s *search) take(r *record.Row) bool {
	if !s.found || record.CompareTime(r.Key, s.best.Key) < 0 {
		s.best, s.found = *r, true
	}
	return !s.unordered
}

// table looks into one table; it reports whether the search is over.
func (s *search) table(t *levels.Table) (bool, error) {
	p := t.Properties
	if p.MinVersion > s.at.Version || s.found && p.MaxVersion < s.best.Version || !t.Covers(s.at.User) {
		return false, nil
	}
	row, ok, err := t.Reader.Get(s.at)
	if err != nil || !ok {
		return false, err
	}
	return s.take(&row), nil
}

// get finds the row to answer with.
func (v *view) get(at record.Key, unordered bool) (Row, bool, error) {
	s := &search{at: at, unordered: unordered}
	if !v.searchMemory(s) {
		if err := v.searchTables(s); err != nil {
			return Row{}, false, err
		}
	}
	if !s.found || s.best.Kind == record.Delete {
		return Row{}, false, nil
	}
	value := s.best.Value
	if len(value) <= copyLimit {
		value = append(make([]byte, 0, len(value)), value...)
	}
	return Row{
		Key: append(make([]byte, 0, len(at.User)), at.User...), Value: value,
		Version: Version(s.best.Version), ExpiryMillis: s.best.Expiry,
	}, true, nil
}

func (v *view) searchMemory(s *search) bool {
	var r record.Row
	if v.memory.Get(s.at, &r) && s.take(&r) {
		return true
	}
	for _, sealed := range v.sealed {
		if sealed.memory.Get(s.at, &r) && s.take(&r) {
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
