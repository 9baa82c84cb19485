package engine

import (
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/record"
)

const (
	// absenceSample is of how many keys one is counted: then nearly all reads only look at the level.
	absenceSample = 8
	absenceMost   = 64
	absenceMuch   = absenceMost / 2
)

// absence says whether most point reads find nothing. Then filters, which are small enough to be in the processor's caches, are asked
// before the row cache, whose buckets are not: a read of an absent key waited for a bucket most of its time. Reads that find rows are
// spared the filters otherwise.
type absence struct{ level atomic.Int32 }

// note counts a read. Two may count as one.
func (a *absence) note(hash uint64, absent bool) {
	if hash>>40%absenceSample != 0 {
		return
	}
	switch level := a.level.Load(); {
	case absent && level < absenceMost:
		a.level.Store(level + 1)
	case !absent && level > 0:
		a.level.Store(level - 1)
	}
}

func (a *absence) likely() bool { return a.level.Load() >= absenceMuch }

// absent reports that there is no row of the key, if it is the newest one that is asked for, and memory and filters are sure of that. It takes no reference: they
// are memory that the collector keeps, and a file is not touched. What was visible before is in the view (E2).
func (r *read) absent() bool {
	if r.snapshot != nil || r.query.Version != record.MaxVersion {
		return false
	}
	v := r.db.view.Load()
	return v != nil && !v.mayContain(r.query.Key, r.query.Hash)
}

// mayContain is false only if the view has no row of a key.
func (v *view) mayContain(key []byte, hash uint64) bool {
	if v.memory.Has(key) {
		return true
	}
	for _, s := range v.sealed {
		if s.memory.Has(key) {
			return true
		}
	}
	for _, t := range v.set.Levels[0] {
		if t.Covers(key) && t.Reader.MayContain(hash) {
			return true
		}
	}
	for level := 1; level < levels.Count; level++ {
		if t := v.set.Find(level, key); t != nil && t.Reader.MayContain(hash) {
			return true
		}
	}
	return false
}
