package shard

import (
	"slices"
	"sync"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
)

// hybridClock is the time that this replica uses when it leads: the wall clock, but never going
// back (Kulkarni et al., "Logical Physical Clocks", 2014). It also remembers which entries are on
// their way, because a read must not use a time that one of them may still be given (S3).
// Safe for concurrent use.
type hybridClock struct {
	wall clock.Clock

	// mu is a leaf.
	mu struct {
		sync.Mutex
		// last is the highest time that was given out or used for a read.
		last api.Version
		// pending are the entries whose fate is open, in the order of their times: at most
		// maxInFlight that are awaited, and those of terms in which the leadership was lost.
		pending []pendingEntry
	}
}

// pendingEntry is an entry that was proposed and may still be applied.
type pendingEntry struct {
	time api.Version
	// abandonedIn is the term in which nobody awaited it any more, 0 while it is awaited. Once
	// something of a later term is applied, the entry was applied before it or never will be.
	abandonedIn api.Term
}

// begin gives the time of an entry of count commands: above applied, which is shard time here,
// and above every time given out or used before. The versions of its commands are reserved with
// it. The entry is pending until settle or abandon.
func (c *hybridClock) begin(count int, applied api.Version) api.Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.stampLocked(count, applied)
	c.mu.pending = append(c.mu.pending, pendingEntry{time: t})
	return t
}

// stamp is begin for an entry of maintenance alone, which judges no row: reads need not mind it.
func (c *hybridClock) stamp(count int, applied api.Version) api.Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stampLocked(count, applied)
}

func (c *hybridClock) stampLocked(count int, applied api.Version) api.Version {
	t := max(api.VersionAt(clock.Millis(c.wall)), c.mu.last+1, applied+1)
	c.mu.last = t + api.Version(count)
	return t
}

// settle forgets the entry that began at t: it is applied, or never will be.
func (c *hybridClock) settle(t api.Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.pending = slices.DeleteFunc(c.mu.pending, func(p pendingEntry) bool { return p.time == t })
}

// abandon notes that nobody awaits the entry that began at t any more, though it may yet be
// applied. term is at or above the term in which it was proposed.
func (c *hybridClock) abandon(t api.Version, term api.Term) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.mu.pending {
		if c.mu.pending[i].time == t {
			c.mu.pending[i].abandonedIn = term
		}
	}
}

// readTime gives a time to judge expiry by, at most limit, and the wall clock's. No command that
// is applied later gets a version at or below it, provided that limit was a committed ceiling
// before this replica was last known to lead: what this replica proposed lies above it or is
// settled, and later leaders start above the ceiling. applied is the state as it is here.
func (c *hybridClock) readTime(limit api.Version, applied *state) (t api.Version, wallMillis uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wallMillis = clock.Millis(c.wall)
	c.mu.pending = slices.DeleteFunc(c.mu.pending, func(p pendingEntry) bool {
		return p.abandonedIn != 0 && applied.term > p.abandonedIn
	})
	t = min(limit, max(api.VersionAt(wallMillis), c.mu.last))
	if len(c.mu.pending) > 0 {
		t = min(t, c.mu.pending[0].time-1)
	}
	c.mu.last = max(c.mu.last, t)
	return t, wallMillis
}
