// Package clock is the wall clock as a seam: versions and expiry take their time from it, so
// that tests decide what time it is. Timers and tickers use package time and are tested in
// testing/synctest.
package clock

import (
	"sync"
	"time"
)

// Clock tells the wall time. Safe for concurrent use.
type Clock interface {
	Now() time.Time
}

// Real is the machine's clock.
type Real struct{}

// Now implements Clock.
func (Real) Now() time.Time { return time.Now() }

// Millis is c's time in milliseconds since the Unix epoch.
func Millis(c Clock) uint64 { return uint64(c.Now().UnixMilli()) }

// Manual is a clock that moves only when told to. The zero value shows the Unix epoch.
type Manual struct {
	mu  sync.Mutex
	now time.Time
}

// NewManual returns a clock that shows t.
func NewManual(t time.Time) *Manual { return &Manual{now: t} }

// Now implements Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Advance moves the clock by d, which may be negative.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}
