package session

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
)

const (
	// windowSequences is half of what a shard keeps, so that a shard with a smaller limit, as an
	// older or newer version may have, still takes every request.
	windowSequences = api.MaxSessionWindow / 2

	// maxAge is how long a session gets new requests. A shard forgets sessions by age, counted
	// in hours, and refuses what it forgot; a session must be out of use long before that.
	maxAge = 30 * time.Minute
)

// Allocator hands out request ids. Safe for concurrent use; Begin costs one lock, a look at the
// clock and one small allocation.
type Allocator struct {
	entropy entropy.Source
	clock   clock.Clock

	// mu is a leaf: nothing is locked and no I/O is done while it is held, but for the few random
	// bytes of a new session.
	mu struct {
		sync.Mutex
		// sessions are those that may get new requests. Bounded by the number of outstanding
		// requests: one is added only when each of the others holds one or more.
		sessions []*window
		current  int // index of the one that served last
	}
}

// window is the outstanding part of one session. Guarded by Allocator.mu.
type window struct {
	id    api.SessionID
	floor uint64 // lowest sequence not released; next when none is
	next  uint64 // the sequence of the next request
	// released has a bit for each sequence in [floor, next), at sequence mod windowSequences.
	released [windowSequences / 64]uint64
}

// New makes an Allocator without any session.
func New(e entropy.Source, c clock.Clock) *Allocator {
	return &Allocator{entropy: e, clock: c}
}

// Begin starts a request. The caller calls release when the request will not be sent again,
// whatever became of it; release may be called more than once and from any goroutine. The id
// keeps its meaning until then, however long that takes.
func (a *Allocator) Begin() (id api.RequestID, release func()) {
	now := a.clock.Now()
	a.mu.Lock()
	w := a.withRoomLocked(now)
	sequence := w.next
	w.next++
	id = api.RequestID{Session: w.id, Sequence: sequence, Floor: w.floor}
	a.mu.Unlock()
	return id, func() { a.release(w, sequence) }
}

// withRoomLocked finds a session for one more request.
func (a *Allocator) withRoomLocked(now time.Time) *window {
	if a.mu.current < len(a.mu.sessions) {
		if w := a.mu.sessions[a.mu.current]; w.young(now) && w.room() {
			return w
		}
	}
	// Old sessions live on in the release functions of their requests.
	a.mu.sessions = slices.DeleteFunc(a.mu.sessions, func(w *window) bool { return !w.young(now) })
	for i, w := range a.mu.sessions {
		if w.room() {
			a.mu.current = i
			return w
		}
	}
	w := &window{id: a.newID(now), floor: 1, next: 1}
	a.mu.current = len(a.mu.sessions)
	a.mu.sessions = append(a.mu.sessions, w)
	return w
}

func (a *Allocator) newID(now time.Time) api.SessionID {
	random, err := a.entropy.Uint64()
	if err != nil {
		// The contract of entropy.Source excludes this, and there is no safe id without it: two
		// clients with one session would swallow each other's writes.
		panic(fmt.Sprintf("session: no random bytes: %v", err))
	}
	return api.SessionID{CreatedMillis: uint64(now.UnixMilli()), Random: random}
}

func (a *Allocator) release(w *window, sequence uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.release(sequence)
}

// young is false also for a session from the future, after the clock was set back: its age
// could not be told.
func (w *window) young(now time.Time) bool {
	age := now.UnixMilli() - int64(w.id.CreatedMillis)
	return age >= 0 && age < maxAge.Milliseconds()
}

// room keeps Q3.
func (w *window) room() bool { return w.next-w.floor < windowSequences }

func (w *window) release(sequence uint64) {
	if sequence < w.floor {
		return // Q4: the floor has passed it, so its bit belongs to another sequence
	}
	word, bit := w.bit(sequence)
	w.released[word] |= bit
	for w.floor < w.next {
		word, bit := w.bit(w.floor)
		if w.released[word]&bit == 0 {
			return // Q2: this one is outstanding
		}
		w.released[word] &^= bit
		w.floor++
	}
}

func (w *window) bit(sequence uint64) (word int, mask uint64) {
	at := sequence % windowSequences
	return int(at / 64), 1 << (at % 64)
}
