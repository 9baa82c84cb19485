package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/internal/clock"
)

// windowLength is for how long requests that begin after each other share one window. Each gets
// its whole time and up to this much more, a hundredth of Options.Timeout.
const windowLength = 50 * time.Millisecond

// Shared makes a context for a front end whose requests have no deadlines of their own: those that
// begin at about the same time share the contexts and timers that bound them, so that a request
// costs neither. It ends with parent.
func Shared(parent context.Context) context.Context { return &sharedContext{Context: parent} }

type sharedContext struct {
	context.Context
	window  atomic.Pointer[window] // the one that new requests use
	opening sync.Mutex             // a leaf
}

// window bounds the requests that began within it.
type window struct {
	server *Server
	// ctx is for a request as a whole, attempt for its first try. Both end with the gate.
	ctx     context.Context
	attempt context.Context
	until   time.Time // requests that begin later need another window
	// deadlineMillis is what their commands carry, in shard time.
	deadlineMillis uint64
}

// windowOf is the window of a request that begins now. Who calls it is inside the gate, calls end
// when the request is over.
func (s *Server) windowOf(ctx context.Context) (w *window, end func()) {
	shared, ok := ctx.(*sharedContext)
	if !ok {
		return s.ownWindow(ctx)
	}
	now := clock.Real{}.Now() // contexts are on the machine's clock
	if w = shared.window.Load(); w == nil || w.server != s || now.After(w.until) {
		w = s.openWindow(shared, now)
	}
	return w, endNothing
}

func endNothing() {}

// ownWindow is for a request whose caller may have set a deadline.
func (s *Server) ownWindow(ctx context.Context) (w *window, end func()) {
	ctx, leave := s.gate.endWith(ctx)
	ctx, cancel := s.withDeadline(ctx)
	return &window{server: s, ctx: ctx, deadlineMillis: s.commandDeadline(ctx)}, func() {
		cancel()
		leave()
	}
}

func (s *Server) openWindow(c *sharedContext, now time.Time) *window {
	c.opening.Lock()
	defer c.opening.Unlock()
	if w := c.window.Load(); w != nil && w.server == s && !now.After(w.until) {
		return w
	}
	closing, leave := s.gate.endWith(c.Context)
	ctx, cancel := context.WithTimeout(closing, s.opts.Timeout+windowLength)
	attempt, cancelAttempt := context.WithTimeout(ctx, s.opts.AttemptTimeout+windowLength)
	// Nobody counts the requests of a window: its time ends it.
	context.AfterFunc(ctx, func() {
		cancelAttempt()
		cancel()
		leave()
	})
	w := &window{server: s, ctx: ctx, attempt: attempt, until: now.Add(windowLength), deadlineMillis: s.commandDeadline(ctx)}
	c.window.Store(w)
	return w
}

// try is the context of a try; first says that it began with the window.
func (w *window) try(first bool) (context.Context, context.CancelFunc) {
	if first && w.attempt != nil {
		return w.attempt, endNothing
	}
	return context.WithTimeout(w.ctx, w.server.opts.AttemptTimeout)
}
