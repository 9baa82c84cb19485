package client

import (
	"sync/atomic"
	"time"
)

const (
	// paceWeight is how much of an average the last reading is: 1 in so many.
	paceWeight = 8

	// A node is slow if it took more than slowFactor times as long as the fastest, and at least
	// slowMargin longer: below that, differences are noise and spreading the load is worth more.
	slowFactor = 2
	slowMargin = 5 * time.Millisecond

	// paceHalfLife is how long it takes for a reading to count half, so that a node that was slow
	// is tried again: one that took 50 ms beside others that take 1 ms, after four seconds.
	paceHalfLife = time.Second
)

// pace is how long a node took to answer stale reads lately. The fields are not changed in one
// step: they are a preference among replicas, not a fact. Safe for concurrent use.
type pace struct {
	dialed  atomic.Bool  // the first reading, which has the dial in it, was left out
	average atomic.Int64 // nanoseconds, 0 when there was no reading
	readAt  atomic.Int64 // nanoseconds since the Unix epoch
}

// note takes a reading.
func (p *pace) note(took time.Duration, now time.Time) {
	if !p.dialed.Load() {
		p.dialed.Store(true)
		return
	}
	average := p.average.Load()
	if average == 0 {
		average = int64(took)
	}
	p.average.Store(max(average+(int64(took)-average)/paceWeight, 1))
	p.readAt.Store(now.UnixNano())
}

// recent is the average, halved for every half-life that it is old; 0 is unknown.
func (p *pace) recent(now time.Time) time.Duration {
	age := max(now.UnixNano()-p.readAt.Load(), 0) / int64(paceHalfLife)
	return time.Duration(p.average.Load() >> min(age, 62))
}

// slower reports whether the node is slow beside one that takes fastest.
func (p *pace) slower(fastest time.Duration, now time.Time) bool {
	d := p.recent(now)
	return d > slowFactor*fastest && d-fastest > slowMargin
}
