package engine

import (
	"errors"
	"time"

	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/internal/clock"
)

// Clock tells the wall time. It must be safe for concurrent use.
type Clock interface {
	Now() time.Time
}

// SystemClock is the machine's clock.
func SystemClock() Clock { return clock.Real{} }

// ErrNoClock is returned where a time to live needs Options.Clock.
var ErrNoClock = errors.New("store has no clock, set Options.Clock")

// expiryPeriod is how often a store with a clock looks for tables of which much has expired, when nothing else makes it look.
// Reads do not depend on it.
const expiryPeriod = time.Minute

// ExpiresIn gives the expiry of a row that lives for so long from now on, for Put.
func (db *DB) ExpiresIn(ttl time.Duration) (expiryMillis uint64, err error) {
	if db.options.Clock == nil {
		return 0, ErrNoClock
	}
	return uint64(max(1, int64(db.now())+ttl.Milliseconds())), nil // zero would be never
}

// now is the store's time in milliseconds: that of its clock, or the latest one that it has used, if the clock went back. What
// was expired once is expired for good.
func (db *DB) now() uint64 {
	now := uint64(max(0, db.options.Clock.Now().UnixMilli()))
	for {
		latest := db.latest.Load()
		if now <= latest {
			return latest
		}
		if db.latest.CompareAndSwap(latest, now) {
			return now
		}
	}
}

// expired reports whether a row with such an expiry is not to be shown. Without a clock the caller judges.
func (db *DB) expired(expiryMillis uint64) bool {
	return expiryMillis != 0 && db.options.Clock != nil && expiryMillis <= db.now()
}

// stampLocked puts the time into the batch's horizon: it is in the log and in the manifest then, so that a clock which went
// back while the store was closed brings nothing back, and flushes drop what has expired.
func (db *DB) stampLocked(b *Batch) {
	if db.options.Clock != nil {
		b.horizon.ExpiryMillis = max(b.horizon.ExpiryMillis, db.now())
	}
}

// expiryHorizon is the time by which a compaction drops values. With a clock it is the present, which becomes durable with what
// the compaction installs (E4).
func (db *DB) expiryHorizon() uint64 {
	if db.options.Clock != nil {
		return db.now()
	}
	return db.durable.Load().HorizonExpiry
}

// raiseExpiry notes in a manifest the latest time that was used.
func (db *DB) raiseExpiry(m *manifest.State) {
	if db.options.Clock != nil {
		m.HorizonExpiry = max(m.HorizonExpiry, db.latest.Load())
	}
}

// expireLoop wakes the compaction from time to time.
func (db *DB) expireLoop() {
	defer db.loops.Done()
	ticker := time.NewTicker(expiryPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-db.stop:
			return
		case <-ticker.C:
			db.wakeCompaction()
		}
	}
}
