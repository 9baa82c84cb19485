package shard

import (
	"slices"
	"sync"
	"time"

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

// steadyClock is the wall clock as a leader uses it. Shard time never goes back, so one entry with the time
// of a clock that was set an hour ahead refuses everybody's deadlines for an hour. The leader's clock is compared
// with those of the other voters, but only now and then (raft, R11); until that has
// happened a step forward is not believed, and time goes on as the stopwatch says. Safe for concurrent use.
type steadyClock struct {
	wall, stopwatch clock.Clock

	// mu is a leaf.
	mu struct {
		sync.Mutex
		// now is the time that was given last, and at what the stopwatch showed then.
		now, at time.Time
		// doubted is what the stopwatch showed when the wall clock was first found ahead, zero
		// while it is not.
		doubted time.Time
	}
}

const (
	// maxClockStep is what the wall clock may gain on the stopwatch at once: as much as the clocks of
	// a group may differ.
	maxClockStep = 5 * time.Second
	// doubtFor is how long a larger step is not believed. Five checks of clocks fit into it; a leader that
	// one of them contradicts takes no more proposals.
	doubtFor = 10 * time.Second
)

// Now implements clock.Clock.
func (c *steadyClock) Now() time.Time {
	now, at := c.wall.Now().Round(0), c.stopwatch.Now() // Round: the difference of wall times counts
	c.mu.Lock()
	defer c.mu.Unlock()
	steady := c.mu.now.Add(at.Sub(c.mu.at))
	if !c.mu.at.IsZero() && now.Sub(steady) > maxClockStep {
		if c.mu.doubted.IsZero() {
			c.mu.doubted = at
		}
		if at.Sub(c.mu.doubted) < doubtFor {
			return steady
		}
	}
	c.mu.now, c.mu.at, c.mu.doubted = now, at, time.Time{}
	return now
}

// trust takes the wall clock as it is, because it was just compared with others.
func (c *steadyClock) trust() {
	now, at := c.wall.Now().Round(0), c.stopwatch.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.now, c.mu.at, c.mu.doubted = now, at, time.Time{}
}
