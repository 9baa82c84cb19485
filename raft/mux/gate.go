package mux

import (
	"slices"
	"sync"
)

// gate holds back what must not be said before this replica's log is durable up to an index (RM10). It has
// no goroutine: what passes does so on the one that says that the log is durable, the log's writer.
type gate struct {
	// durable asks the owner; see LogOwner.
	durable func() uint64

	// mu is held while durable is asked, so that nothing waits for what has just become so.
	mu struct {
		sync.Mutex
		waiting []gated
		closed  bool
	}
}

// gated is what waits for an index.
type gated struct {
	index uint64
	waiter
}

// waiter is told once, by a goroutine that it must not block, that it may go on, or of the error why it
// never may.
type waiter interface{ pass(err error) }

// maxGated bounds what waits: more than the requests that a few leaders, one after the other, have on
// their way.
const maxGated = 4 * maxQueuedMessages

// hold keeps w until the log is durable up to index; false if it is.
func (g *gate) hold(index uint64, w waiter) bool {
	if g.durable() >= index {
		return false
	}
	g.mu.Lock()
	refused := error(nil)
	switch {
	case g.mu.closed:
		refused = errTransportClosed
	case g.durable() >= index:
		g.mu.Unlock()
		return false
	case len(g.mu.waiting) >= maxGated:
		refused = errBusy
	default:
		g.mu.waiting = append(g.mu.waiting, gated{index, w})
	}
	g.mu.Unlock()
	if refused != nil {
		w.pass(refused)
	}
	return true
}

// open lets go on what the log is durable enough for.
func (g *gate) open() {
	durable := g.durable()
	g.mu.Lock()
	var passing []gated
	g.mu.waiting = slices.DeleteFunc(g.mu.waiting, func(w gated) bool {
		if w.index <= durable {
			passing = append(passing, w)
			return true
		}
		return false
	})
	g.mu.Unlock()
	for _, w := range passing {
		w.pass(nil)
	}
}

// forget gives w up. It reports whether w was waiting, which will not be told then.
func (g *gate) forget(w waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := len(g.mu.waiting)
	g.mu.waiting = slices.DeleteFunc(g.mu.waiting, func(o gated) bool { return o.waiter == w })
	return len(g.mu.waiting) < before
}

// close refuses everything that waits, and what will.
func (g *gate) close() {
	g.mu.Lock()
	waiting := g.mu.waiting
	g.mu.waiting, g.mu.closed = nil, true
	g.mu.Unlock()
	for _, w := range waiting {
		w.pass(errTransportClosed)
	}
}
