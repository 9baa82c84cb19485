package raft

import (
	"slices"
	"sync"
	"sync/atomic"
)

// writes are the writes of one log that are under way. The host looks at them from time to time,
// see silence.go, which costs a write two short locks and no timer.
type writes struct {
	// slow and stuck are how many looks a write may see before it is said to be so.
	slow, stuck uint64
	onStuck     func()

	stalled atomic.Bool // a write is slow
	looks   atomic.Uint64

	// mu is a leaf.
	mu    sync.Mutex
	began []uint64 // the looks at which they began, in no order
}

// run runs one write.
func (w *writes) run(write func() error) error {
	began := w.looks.Load()
	w.mu.Lock()
	w.began = append(w.began, began)
	w.mu.Unlock()
	defer w.end(began) // also when the write ends its goroutine
	return write()
}

func (w *writes) end(began uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.Index(w.began, began)
	w.began = slices.Delete(w.began, at, at+1)
	w.stalled.Store(w.oldest() > w.slow)
}

// oldest is how many looks the longest write has seen. The caller holds the lock.
func (w *writes) oldest() uint64 {
	if len(w.began) == 0 {
		return 0
	}
	return w.looks.Load() - slices.Min(w.began)
}

// look counts one look at the writes.
func (w *writes) look(now uint64) {
	w.looks.Store(now)
	w.mu.Lock()
	age := w.oldest()
	w.stalled.Store(age > w.slow)
	w.mu.Unlock()
	if age > w.stuck {
		w.onStuck()
	}
}
