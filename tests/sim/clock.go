package sim

import (
	"sync/atomic"
	"time"
)

// Clock is the wall clock of one node: the bubble's time and an offset that faults change.
type Clock struct{ offset atomic.Int64 }

// Now implements clock.Clock.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// Set makes the clock wrong by d.
func (c *Clock) Set(d time.Duration) { c.offset.Store(int64(d)) }

// pass lets virtual time pass.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}
