package rpc

import (
	"sync"
	"sync/atomic"
)

const (
	// maxUnreadBytes bounds what all streams of calls of a node hold beyond what each may in any case:
	// messages that have arrived, and answers that clients have not taken. Honest ones take their
	// answers, so that their share is small.
	maxUnreadBytes = 128 << 20

	// shortAnswersBytes of answers that wait are a stream's own, up to twice maxUnreadBytes in all, so
	// that those who take their answers are served while others hold all there is.
	shortAnswersBytes = 16 << 10
)

// ledger counts the memory of all streams of calls of a node (C9). Safe for concurrent use.
type ledger struct {
	limit int64 // set once
	used  atomic.Int64
}

// take counts bytes unless there would be more than the limit or, with the reserve, twice as much.
func (l *ledger) take(bytes int, reserve bool) bool {
	limit := l.limit
	if reserve {
		limit *= 2
	}
	if l.used.Add(int64(bytes)) > limit {
		l.used.Add(-int64(bytes))
		return false
	}
	return true
}

// force counts bytes that are there.
func (l *ledger) force(bytes int) { l.used.Add(int64(bytes)) }

func (l *ledger) give(bytes int) { l.used.Add(-int64(bytes)) }

func (l *ledger) full() bool { return l.used.Load() > l.limit }

// shares counts what each connection holds. Safe for concurrent use; the zero value is empty.
type shares struct {
	// mu is a leaf.
	mu   sync.Mutex
	held map[string]int // by connection, those that hold something
}

// take counts bytes unless the connection would hold more than most.
func (s *shares) take(connection string, bytes, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[connection]+bytes > most {
		return false
	}
	if s.held == nil {
		s.held = make(map[string]int)
	}
	s.held[connection] += bytes
	return true
}

func (s *shares) give(connection string, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[connection] -= bytes; s.held[connection] <= 0 {
		delete(s.held, connection)
	}
}
