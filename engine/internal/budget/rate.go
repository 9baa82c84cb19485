package budget

import (
	"sync"
	"time"

	"github.com/lightning-db/lightning/internal/clock"
)

// burst is how much may be written at once after a pause, and how far behind its rate the writing may be before it waits: a
// wait for less time would be one for the timer and not for the disk.
const burst = 50 * time.Millisecond

// Rate bounds the bytes per second of background work. The zero value has no limit. Safe for concurrent use.
type Rate struct {
	mu struct {
		sync.Mutex
		perSecond int64 // 0 for none
		owed      time.Duration
		at        time.Time // when owed was right
	}
}

// SetLimit changes the rate; zero is none. Who waits already goes on waiting for as long as it was to.
func (r *Rate) SetLimit(bytesPerSecond int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.perSecond, r.mu.owed, r.mu.at = max(bytesPerSecond, 0), 0, clock.Real{}.Now()
}

// Limit is the rate, zero for none.
func (r *Rate) Limit() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.perSecond
}

// Charge counts bytes that may not wait, such as those of a flush that writers wait for: others wait for them.
func (r *Rate) Charge(bytes int) { r.charge(bytes) }

// Wait counts bytes, and waits until they are within the rate or stop is closed.
func (r *Rate) Wait(bytes int, stop <-chan struct{}) {
	owed := r.charge(bytes)
	if owed < burst {
		return
	}
	timer := time.NewTimer(owed)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	}
}

// charge gives how long the bytes so far take beyond the time that there was.
func (r *Rate) charge(bytes int) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.perSecond == 0 {
		return 0
	}
	now := clock.Real{}.Now()
	r.mu.owed = max(r.mu.owed-now.Sub(r.mu.at), -burst) + time.Duration(float64(bytes)/float64(r.mu.perSecond)*float64(time.Second))
	r.mu.at = now
	return r.mu.owed
}
