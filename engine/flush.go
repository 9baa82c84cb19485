package engine

import (
	"context"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/retain"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// flushLoop writes sealed memtables as tables, oldest first, until the store stops or fails.
func (db *DB) flushLoop() {
	defer db.loops.Done()
	for {
		if db.await(context.Background(), db.flushDue) != nil || db.failure() != nil {
			return
		}
		s := db.oldestSealed()
		if s == nil {
			return // stopping, and nothing is left
		}
		err := db.flush(s)
		switch {
		case err == nil:
			db.foundRoom(&db.mu.full.flush)
		case !noRoom(err):
			db.fail(err)
			return
		default:
			db.foundFull(&db.mu.full.flush, err)
			if db.stopped() {
				return
			}
			db.pause()
		}
	}
}

// flushDue is called under mu. While level 0 is full a flush waits for the compaction of it.
func (db *DB) flushDue() bool {
	v := db.view.Load()
	if len(v.sealed) == 0 {
		return db.mu.stopping
	}
	return db.mu.stopping || len(v.set.Levels[0]) < db.options.StopCount
}

func (db *DB) oldestSealed() *sealed {
	v := db.view.Load()
	if len(v.sealed) == 0 {
		return nil
	}
	return v.sealed[len(v.sealed)-1]
}

// flush writes one memtable and installs the table together with position, horizon, last sequence
// and last version as they were after its last batch: one atomic cut (E1).
func (db *DB) flush(s *sealed) (err error) {
	var tables []*levels.Table
	ended := db.flushBegins(s.memory.Bytes())
	defer func() { ended(totalBytes(tables), err) }()
	log := db.log // Open goes on, and begins one, as soon as the last flush of its replay is installed
	v := db.acquire()
	defer v.unref()
	rules := db.rules(s.applied.horizon, v.set, 0, nil)
	rules.Ranges = s.memory.Ranges()
	out := &outputs{db: db, filter: retain.New(rules), dropped: db.families.dropped.Load(), styles: db.families.styles.Load().Walk()}
	out.ranges = out.needed(rules.KeepRanges())
	c := s.memory.NewCursor()
	at, all := stride{}, float64(s.memory.Rows())
	for c.Seek(nil, record.Forward); c.Row() != nil; c.Step() {
		if seededbug.Enabled(seededbug.EngineFlushLosesLastRow) && at.rows > 0 && at.rows == s.memory.Rows()-1 {
			break
		}
		err := out.add(c.Row())
		if err == nil && at.due(c.Row()) {
			db.runtime.writes.Charge(at.last)
			err = db.paceFlush(float64(at.rows) / all)
		}
		if err != nil {
			out.reject(err)
			return err
		}
	}
	if tables, err = out.finish(); err != nil {
		return err
	}
	db.counts.flushedBytes.Add(totalBytes(tables))
	err = db.installEdit(edit{
		add:     placeAt(0, tables),
		flushed: s,
		dropped: out.dropped,
		state: func(m *manifest.State) {
			a := s.applied
			if seededbug.Enabled(seededbug.EngineFlushTellsPresent) {
				a = db.applied.Load()
			}
			m.LastBatch = a.batch
			if log != nil {
				m.LogSegment = log.Oldest(a.batch)
			}
			m.LastSequence, m.LastVersion = a.sequence, uint64(a.version)
			m.PositionIndex, m.PositionTerm = a.position.Index, a.position.Term
			m.HorizonVersion, m.HorizonExpiry = uint64(a.horizon.Version), max(m.HorizonExpiry, a.horizon.ExpiryMillis)
			m.Unordered = a.unordered
			if !db.options.RetainVersions {
				m.Floor = uint64(a.version)
			}
		},
	})
	if err != nil {
		return err
	}
	db.counts.flushes.Add(1)
	if log != nil {
		db.releaseLog(log)
	}
	return nil
}

// rules say what a flush or a compaction must keep. The horizon is one that is durable, or becomes
// so with the result: after a crash the caller applies again from the durable position on, and must
// then find everything that it found the first time (E4). Older rows of a key may lie in the tables of the
// set from a level on; inputs are the tables that the filter sees.
func (db *DB) rules(h Horizon, set *levels.Set, from int, inputs []*levels.Table) retain.Rules {
	r := retain.Rules{
		Snapshots:    db.snapshots.sequences(),
		Version:      uint64(h.Version),
		ExpiryMillis: h.ExpiryMillis,
		Hides:        func(user []byte, _ uint64) bool { return set.CoveredFrom(from, user) },
		HidesIn:      func(t *rangedel.Tombstone) bool { return set.MeetsFrom(from, t.Start, t.End) },
	}
	if seededbug.Enabled(seededbug.EngineForgetSnapshots) {
		r.Snapshots = nil
	}
	if !db.options.RetainVersions {
		r.Version = record.MaxVersion
	} else if styles := db.families.styles.Load().Walk(); styles != nil {
		r.NewestOnly = func(user []byte) bool {
			e, ok := styles.Of(user)
			return ok && e.NewestOnly
		}
	}
	if db.unordered() {
		r.Hides = func(user []byte, version uint64) bool {
			return set.CoveredFrom(from, user) ||
				db.lowerElsewhere(version, inputs, func(t *levels.Table) bool { return t.Covers(user) })
		}
		r.HidesIn = func(t *rangedel.Tombstone) bool {
			return set.MeetsFrom(from, t.Start, t.End) ||
				db.lowerElsewhere(t.Version, inputs, func(u *levels.Table) bool { return u.Meets(t.Start, t.End) })
		}
	}
	return r
}

// unordered reports whether the store may hold a row that is newer than one of a higher version. Such rows stay when
// Options.RetainVersions, which allows them, is off at a later opening.
func (db *DB) unordered() bool {
	if seededbug.Enabled(seededbug.EngineForgetUnordered) && !db.options.RetainVersions {
		return false
	}
	return db.applied.Load().unordered
}

// lowerElsewhere reports whether a newer row of a lower version may exist, in memory or in a table where the keys may be: only in a store whose
// versions are unordered. Memory and tables are looked at in one view, or a flush between the two
// looks would hide a row. Rows still to come are not below a durable horizon.
func (db *DB) lowerElsewhere(version uint64, inputs []*levels.Table, there func(*levels.Table) bool) bool {
	v := db.view.Load()
	if v.leastVersionInMemory() < version {
		return true
	}
	for _, tables := range v.set.Levels {
		for _, t := range tables {
			if t.Properties.MinVersion < version && there(t) && !slices.Contains(inputs, t) {
				return true
			}
		}
	}
	return false
}
