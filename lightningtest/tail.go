package lightningtest

import "sync"

// tail keeps the end of what is written to it. Safe for concurrent use.
type tail struct {
	limit int

	// mu is a leaf.
	mu    sync.Mutex
	bytes []byte
}

func newTail(limit int) *tail { return &tail{limit: limit} }

// Write implements io.Writer.
func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes = append(w.bytes, p...)
	if over := len(w.bytes) - w.limit; over > w.limit {
		w.bytes = append(w.bytes[:0], w.bytes[over:]...) // seldom, so that writing stays cheap
	}
	return len(p), nil
}

func (w *tail) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.bytes[max(len(w.bytes)-w.limit, 0):])
}
