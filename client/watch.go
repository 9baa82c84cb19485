package client

import (
	"context"
	"time"
)

// watch ends an attempt at which nothing moves. A long value takes as long as its network does, so such an
// attempt has no limit of its own but this. Used by one goroutine.
type watch struct {
	timer *time.Timer
	limit time.Duration
}

// newWatch cancels an attempt when nothing has moved for limit. It must be stopped.
func newWatch(limit time.Duration, cancel context.CancelFunc) *watch {
	return &watch{timer: time.AfterFunc(limit, cancel), limit: limit}
}

// moved begins the wait anew.
func (w *watch) moved() { w.timer.Reset(w.limit) }

// aside runs what is not the node's to wait for: the caller's reader or writer.
func (w *watch) aside(do func()) {
	w.timer.Stop()
	do()
	w.timer.Reset(w.limit)
}

func (w *watch) stop() { w.timer.Stop() }
