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
		// pending are the times of entries that were proposed and whose fate is not known to be
		// settled, ascending. At most maxInFlight are still awaited; one whose outcome is unknown
		// stays until shard time has passed it, since it may yet be applied.
		pending []api.Version
	}
}

// begin gives the time of an entry of count commands: above every time given out or used before.
// The versions of its commands are reserved with it.
func (c *hybridClock) begin(count int) api.Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.stampLocked(count)
	c.mu.pending = append(c.mu.pending, t)
	return t
}

// stamp is begin for an entry of maintenance alone: it judges no row, so reads need not wait
// for it.
func (c *hybridClock) stamp(count int) api.Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stampLocked(count)
}

func (c *hybridClock) stampLocked(count int) api.Version {
	t := max(api.VersionAt(clock.Millis(c.wall)), c.mu.last+1)
	c.mu.last = t + api.Version(count)
	return t
}

// settle forgets the entry that began at t: it is applied, or will never be.
func (c *hybridClock) settle(t api.Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.pending = slices.DeleteFunc(c.mu.pending, func(p api.Version) bool { return p == t })
}

// readTime gives a time to judge expiry by, at most limit, and the wall clock's. No command that
// is applied later, here or by another leader that starts above limit, gets a version at or
// below it, provided that limit was a committed ceiling while this replica was known to lead.
// applied is shard time as it is applied here: entries that begin at or below it are applied,
// or will get a version above it.
func (c *hybridClock) readTime(limit, applied api.Version) (t api.Version, wallMillis uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wallMillis = clock.Millis(c.wall)
	c.mu.pending = slices.DeleteFunc(c.mu.pending, func(p api.Version) bool { return p <= applied })
	t = min(limit, max(api.VersionAt(wallMillis), c.mu.last))
	if len(c.mu.pending) > 0 {
		t = min(t, c.mu.pending[0]-1)
	}
	c.mu.last = max(c.mu.last, t)
	return t, wallMillis
}

// raise makes the clock give times above t from now on.
func (c *hybridClock) raise(t api.Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.last = max(c.mu.last, t)
}
