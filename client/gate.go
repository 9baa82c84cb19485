package client

import (
	"sync"

	"github.com/lightning-db/lightning/api"
)

// gate counts calls in flight and lets none in after it is shut. Safe for concurrent use.
type gate struct {
	// mu is a leaf: nothing is locked and no I/O is done while it is held.
	mu struct {
		sync.Mutex
		shut bool
	}
	// inFlight grows only under mu while shut is false.
	inFlight sync.WaitGroup
}

// enter counts a call in, which must leave. It fails after shut.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.shut {
		return errClosed()
	}
	g.inFlight.Add(1)
	return nil
}

func (g *gate) leave() { g.inFlight.Done() }

// shut reports whether it was the first to shut the gate.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.mu.shut
	g.mu.shut = true
	return first
}

// wait returns when every call that entered has left. Call shut first.
func (g *gate) wait() { g.inFlight.Wait() }

func errClosed() *api.Error { return api.Errorf(api.CodeShuttingDown, "the client is closed") }
