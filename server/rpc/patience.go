package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
)

// patience ends a call whose client does nothing while the call waits for it. Such a call would hold memory
// as long as its client likes. Used by one goroutine.
type patience struct {
	limit   time.Duration
	why     error           // what the call then ends with
	waiting *sync.WaitGroup // grows by the goroutines that wait
	over    context.Context // ends when the client has had all its time
}

// await waits for the client. gRPC offers no limit for that but the end of the call, so the wait goes on in a
// goroutine when it has taken too long, until the handler returns, which must be at once.
func await[T any](p *patience, wait func() (T, error)) (T, error) {
	type outcome struct {
		message T
		err     error
	}
	done := make(chan outcome, 1)
	p.waiting.Go(func() {
		m, err := wait()
		done <- outcome{m, err}
	})
	timer := time.NewTimer(p.limit)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.message, o.err
	case <-timer.C:
		var none T
		return none, p.why
	case <-p.over.Done():
		var none T
		return none, api.Errorf(api.CodeExpired, "a value that takes this long is given up: %w", context.Cause(p.over))
	}
}
