package server

import (
	"context"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
)

// gate counts what is being worked on, refuses what would be too much, and closes.
type gate struct {
	maxCount int64
	maxBytes int64
	// maxShared bounds the writes of pipelines: half of what the queue of one shard takes.
	maxShared int64
	// closing is canceled when the grace of close is over.
	closing context.Context
	cancel  context.CancelCauseFunc

	// mu is a leaf.
	mu struct {
		sync.Mutex
		count  int64
		bytes  int64 // of requests, and of what they found
		found  int64 // of these, what reads found
		shared int64 // writes on their way beside the first of their pipeline
		closed bool
		idle   chan struct{} // closed when the gate is closed and nothing is inside
	}
}

// maxSharedWrites leaves the other half of a shard's queue, 16,384 commands, to single requests.
const maxSharedWrites = 8192

func newGate(maxCount, maxBytes int64) *gate {
	g := &gate{maxCount: maxCount, maxBytes: maxBytes, maxShared: maxSharedWrites}
	g.closing, g.cancel = context.WithCancelCause(context.Background())
	g.mu.idle = make(chan struct{})
	return g
}

// enter admits a request that holds bytes of memory, or says why not. The context ends with
// ctx, or when the gate loses patience while it closes. Every admitted request calls leave once.
func (g *gate) enter(ctx context.Context, bytes int64) (_ context.Context, leave func(), _ error) {
	if err := g.admit(bytes); err != nil {
		return nil, nil, err
	}
	ctx, end := g.endWith(ctx)
	return ctx, func() {
		end()
		g.leave(bytes)
	}, nil
}

// endWith makes a context that ends with ctx, or when the gate loses patience while it closes.
func (g *gate) endWith(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(g.closing, func() { cancel(context.Cause(g.closing)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// share is how many of wish more requests one that has been admitted may put on their way beside
// it: all, as long as there is much room, then fewer and fewer. unshare gives them back. So
// pipelines fill what single requests leave, and are not refused when there is no more.
func (g *gate) share(wish int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	granted := min(wish, int(g.maxShared-g.mu.shared)/2)
	g.mu.shared += int64(granted)
	return granted
}

func (g *gate) unshare(granted int) {
	if granted == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.shared -= int64(granted)
}

func (g *gate) admit(bytes int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.mu.closed:
		return api.Errorf(api.CodeShuttingDown, "the node is stopping")
	case g.mu.count >= g.maxCount:
		return api.Errorf(api.CodeOverloaded, "%d requests are being worked on, the limit; slow down", g.maxCount)
	case g.mu.bytes+bytes > g.maxBytes && g.mu.count > 0:
		return api.Errorf(api.CodeOverloaded, "requests of %d bytes are being worked on, the limit is %d; slow down", g.mu.bytes, g.maxBytes)
	}
	g.mu.count++
	g.mu.bytes += bytes
	return nil
}

// grow counts bytes that an admitted request has found, or says why it must not keep them. Reads may
// hold a quarter of the memory together, so that writes have the rest, and each leaves as much free as it
// takes, so that large ones do not keep small ones out. shrink gives them back.
func (g *gate) grow(bytes int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.found > 0 && g.mu.found+2*bytes > g.maxBytes/4 || g.mu.bytes+bytes > g.maxBytes && g.mu.count > 1 {
		return api.Errorf(api.CodeOverloaded, "reads that are being worked on hold %d bytes of values, the limit is %d; slow down", g.mu.found, g.maxBytes/4)
	}
	g.mu.bytes += bytes
	g.mu.found += bytes
	return nil
}

func (g *gate) shrink(bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.bytes -= bytes
	g.mu.found -= bytes
}

func (g *gate) leave(bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.count--
	g.mu.bytes -= bytes
	if g.mu.closed && g.mu.count == 0 {
		close(g.mu.idle)
	}
}

// close admits nobody any more, waits for grace, cancels what is still inside and waits for it.
func (g *gate) close(grace time.Duration) {
	g.mu.Lock()
	first := !g.mu.closed
	g.mu.closed = true
	if first && g.mu.count == 0 {
		close(g.mu.idle)
	}
	g.mu.Unlock()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-g.mu.idle:
	case <-timer.C:
		g.cancel(api.Errorf(api.CodeShuttingDown, "the node is stopping"))
		<-g.mu.idle
	}
	g.cancel(nil)
}
