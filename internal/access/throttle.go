package access

import (
	"net/netip"
	"sync"
	"time"

	"github.com/lightning-db/lightning/internal/clock"
)

const (
	// maxFailures within failureWindow make a source wait for penalty: a person who mistypes does
	// not notice, and a program gets 30 guesses a minute instead of a million.
	maxFailures   = 5
	failureWindow = 10 * time.Second
	penalty       = 10 * time.Second
	// trust is how long an address is remembered from which the right password came: from there it
	// is accepted even while somebody guesses, or a guesser could lock out everyone who shares an
	// address with him.
	trust = time.Hour
	// maxSources bounds each table: about a megabyte. When it is full the oldest entries that are
	// met first make room; who owns so many addresses is not stopped by counting them.
	maxSources = 10_000
)

// throttle counts failures by source. Safe for concurrent use.
type throttle struct {
	clock clock.Clock

	// mu is a leaf.
	mu struct {
		sync.Mutex
		sources map[netip.Addr]record
		trusted map[netip.Addr]time.Time // when the right password came last
	}
}

// record is what is known of a source.
type record struct {
	count int
	since time.Time // of the first failure that counts
	until time.Time // the end of the penalty, zero without one
}

func (t *throttle) init(c clock.Clock) {
	t.clock = c
	t.mu.sources = make(map[netip.Addr]record)
	t.mu.trusted = make(map[netip.Addr]time.Time)
}

// succeeded notes that the right password came from a source.
func (t *throttle) succeeded(source netip.Addr) {
	now := t.clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.mu.trusted[source]; !ok && len(t.mu.trusted) >= maxSources {
		for other := range t.mu.trusted {
			delete(t.mu.trusted, other)
			break
		}
	}
	t.mu.trusted[source] = now
}

// trusts reports whether the right password came from a source of late.
func (t *throttle) trusts(source netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.mu.trusted[source]
	age := t.clock.Now().Sub(at)
	return ok && age >= 0 && age <= trust
}

// wait is how long a source has to stay away, 0 if it need not.
func (t *throttle) wait(source netip.Addr) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.mu.sources[source]
	if !ok || r.until.IsZero() {
		return 0
	}
	left := r.until.Sub(t.clock.Now())
	if left <= 0 || left > penalty { // over, or the wall clock was set back
		delete(t.mu.sources, source)
		return 0
	}
	return left
}

func (t *throttle) failed(source netip.Addr) {
	now := t.clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.mu.sources[source]
	if age := now.Sub(r.since); !ok || age < 0 || age > failureWindow {
		r = record{since: now}
	}
	if !ok && len(t.mu.sources) >= maxSources {
		t.makeRoom(now)
	}
	r.count++
	if r.count >= maxFailures && r.until.IsZero() {
		r.until = now.Add(penalty)
	}
	t.mu.sources[source] = r
}

// makeRoom drops what is over among a few entries, and one in any case.
func (t *throttle) makeRoom(now time.Time) {
	looked := 0
	for source, r := range t.mu.sources {
		looked++
		if looked == 1 || now.Sub(r.since) > failureWindow && now.After(r.until) {
			delete(t.mu.sources, source)
		}
		if looked == 16 {
			return
		}
	}
}
