package budget

import (
	"slices"
	"sync"
)

// Slots bounds how much goes on at the same time. The zero value has no limit. Safe for concurrent use.
type Slots struct {
	mu struct {
		sync.Mutex
		limit   int // 0 for none
		taken   int
		waiting []*waiting // oldest first
	}
}

type waiting struct {
	urgency float64
	ready   chan struct{} // closed when it has its slot
}

// Take waits for a slot, which Give gives back, unless stop is closed before. Of those who wait the most urgent is next, of
// equals who has waited longest.
func (s *Slots) Take(urgency float64, stop <-chan struct{}) bool {
	s.mu.Lock()
	if s.mu.limit == 0 || s.mu.taken < s.mu.limit { // BG3
		s.mu.taken++
		s.mu.Unlock()
		return true
	}
	w := &waiting{urgency, make(chan struct{})}
	s.mu.waiting = append(s.mu.waiting, w)
	s.mu.Unlock()
	select {
	case <-w.ready:
		return true
	case <-stop:
	}
	s.mu.Lock()
	i := slices.Index(s.mu.waiting, w)
	if i >= 0 {
		s.mu.waiting = slices.Delete(s.mu.waiting, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 { // it was given meanwhile
		s.Give()
	}
	return false
}

// Give gives a slot back.
func (s *Slots) Give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.taken--
	s.passOnLocked()
}

// SetLimit changes the limit; zero is none. What goes on already goes on.
func (s *Slots) SetLimit(count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.limit = max(count, 0)
	s.passOnLocked()
}

func (s *Slots) passOnLocked() {
	for len(s.mu.waiting) > 0 && (s.mu.limit == 0 || s.mu.taken < s.mu.limit) {
		next := 0
		for i, w := range s.mu.waiting {
			if w.urgency > s.mu.waiting[next].urgency {
				next = i
			}
		}
		s.mu.taken++
		close(s.mu.waiting[next].ready)
		s.mu.waiting = slices.Delete(s.mu.waiting, next, next+1)
	}
}

// Counts tells the limit, and how many slots are taken and waited for.
func (s *Slots) Counts() (limit, taken, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.limit, s.mu.taken, len(s.mu.waiting)
}
