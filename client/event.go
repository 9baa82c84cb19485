package client

import (
	"time"

	"github.com/lightning-db/lightning/api"
)

// Event is one call that has ended, as Options.Observe sees it. It names no key and no value.
type Event struct {
	// Operation is "get", "multiget", "apply", "scan" or "status". MultiGet makes one event for
	// each request that it is divided into, Scan one for each page. Put, Delete and Increment are
	// "apply". A call that the client refuses itself, because it can never succeed, makes none.
	Operation string
	// Stale is true for a read that allowed an answer of a bounded age.
	Stale bool
	// Attempts is how many requests were made of nodes, 0 when the context had ended before.
	Attempts int
	// Redirects is how many of the attempts after the first were made at once, because the one
	// before named a better place. The others waited: they are Attempts - 1 - Redirects.
	Redirects int
	// Duration is from the call to its end, with all attempts and the waits between them.
	Duration time.Duration
	// Code is empty when the call succeeded. The code UNKNOWN_OUTCOME is the one to alert on.
	Code api.Code
}

func (op *operation) event(err error, took time.Duration) Event {
	return Event{
		Operation: op.name, Stale: op.stale, Attempts: op.attempts, Redirects: op.redirects,
		Duration: took, Code: api.CodeOf(err),
	}
}
