package resp

import (
	"context"
	"sync"
)

// room counts bytes that connections may still take. Who takes some leaves as much free, so that who
// asks for little is not kept waiting by who asks for much; only an empty room is there for
// anything. There is no queue.
type room struct {
	total int // never written again

	// mu is a leaf.
	mu struct {
		sync.Mutex
		free  int
		given chan struct{} // closed when bytes are given back
	}
}

func newRoom(bytes int) *room {
	r := &room{total: bytes}
	r.mu.free, r.mu.given = bytes, make(chan struct{})
	return r
}

func (r *room) tryTake(bytes int) bool {
	ok, _ := r.tryOrWait(bytes)
	return ok
}

// tryOrWait also returns what is closed when it makes sense to try again.
func (r *room) tryOrWait(bytes int) (bool, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.free < 2*bytes && r.mu.free < r.total {
		return false, r.mu.given
	}
	r.mu.free -= bytes
	return true, nil
}

// take waits for bytes until ctx ends.
func (r *room) take(ctx context.Context, bytes int) bool {
	for {
		ok, given := r.tryOrWait(bytes)
		if ok {
			return true
		}
		select {
		case <-given:
		case <-ctx.Done():
			return false
		}
	}
}

func (r *room) give(bytes int) {
	if bytes == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.free += bytes
	close(r.mu.given)
	r.mu.given = make(chan struct{})
}

func (r *room) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.free
}
