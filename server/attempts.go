package server

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// step is what to do after a try failed.
type step uint8

const (
	stepStop     step = iota // the error is the answer
	stepRedirect             // try the node that the error names, at once
	stepOther                // wait a little, then try another replica
	stepAgain                // wait a little, then try the same way
	stepMap                  // wait for a newer map, then try
)

// attempts decides what the errors of one request's tries mean. It has no clock and does no I/O.
type attempts struct {
	write bool
	// mayHaveRun is set once a try of a write may have been executed or may still be (V2).
	mayHaveRun bool
	count      int
	redirects  int // redirects followed since the last wait
	overloads  int
	waits      int
	refusal    error // the last error of a try that came back with one
}

// maxRedirects bounds the hints followed without a wait. One leads to the leader; a second may
// follow while leadership moves; two nodes that name each other must not keep us busy.
const maxRedirects = 2

// maxOverloads is how often a full queue is waited for, about half a second together: a queue
// holds a few dozen milliseconds of work.
const maxOverloads = 8

// next decides after a try failed with err, while the caller still has time.
func (a *attempts) next(err error) step {
	a.count++
	code := api.CodeOf(err)
	if isTimeout(err) {
		// The try took longer than one node may take.
		code = api.CodeUnavailable
		a.mayHaveRun = a.mayHaveRun || a.write && !seededbug.Enabled(seededbug.ServerForgetTry)
	} else {
		a.refusal = err
		a.mayHaveRun = a.mayHaveRun || a.write && uncertain(code)
	}
	switch code {
	case api.CodeNotLeader:
		return a.afterNotLeader(err)
	case api.CodeStaleMap:
		return a.wait(stepMap)
	case api.CodeUnavailable, api.CodeUnknownOutcome, api.CodeShuttingDown, api.CodeNotReady, api.CodeStoreFailed, api.CodeExpired,
		api.CodeTooStale:
		// CodeExpired: the caller has time left, so it was the time of the try that passed.
		return a.wait(stepOther)
	case api.CodeOverloaded:
		// Refused before it ran. A short burst is waited out here; then the caller is to slow
		// down, unless an earlier try may have run, because only an answer tells.
		a.overloads++
		if a.mayHaveRun || a.overloads <= maxOverloads {
			return a.wait(stepAgain)
		}
	}
	return stepStop
}

// uncertain reports whether a write that a node answered with code may have run and may be
// asked about again.
func uncertain(code api.Code) bool {
	return code == api.CodeUnknownOutcome || code == api.CodeStoreFailed
}

func (a *attempts) afterNotLeader(err error) step {
	var e *api.Error
	if errors.As(err, &e) && e.Leader != "" && a.redirects < maxRedirects {
		a.redirects++
		return stepRedirect
	}
	return a.wait(stepOther)
}

func (a *attempts) wait(s step) step {
	a.redirects = 0
	a.waits++
	return s
}

const (
	minBackoff = 5 * time.Millisecond
	// maxBackoff bounds the wait between tries: an election takes about a second, so this finds
	// the new leader a few per cent later than it could be found.
	maxBackoff = 80 * time.Millisecond
)

// backoff is the wait before the next try, without jitter.
func (a *attempts) backoff() time.Duration {
	return min(minBackoff<<min(a.waits, 10), maxBackoff)
}

// stopped is the error for the caller after a try failed with err and next said stepStop.
func (a *attempts) stopped(err error) error {
	if !a.mayHaveRun {
		return err
	}
	switch api.CodeOf(err) {
	// What evaluation decides is decided once for a request id: if this answer is a refusal, no
	// other try was executed.
	case api.CodeNotInteger, api.CodeNotFloat, api.CodeOverflow, api.CodeNotFound, api.CodeTooLarge, api.CodeInvalid,
		api.CodeUnknownOutcome, api.CodeInternal:
		return err
	}
	return unknown(a.count, err)
}

// timedOut is the error for the caller when its time, or its patience, is over.
func (a *attempts) timedOut(cause error) error {
	if a.mayHaveRun {
		return unknown(a.count, a.reason(cause))
	}
	if code := api.CodeOf(cause); code == api.CodeShuttingDown {
		return cause
	}
	if a.refusal != nil {
		return api.Errorf(api.CodeUnavailable, "nothing was executed after %d tries: %w", a.count, a.refusal)
	}
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	return api.Errorf(api.CodeExpired, "the deadline passed before the request was executed")
}

func (a *attempts) reason(cause error) error {
	if a.refusal != nil {
		return a.refusal
	}
	return cause
}

func unknown(count int, cause error) error {
	return api.Errorf(api.CodeUnknownOutcome, "the write may or may not have been executed after %d tries: %w", count, cause)
}

func isTimeout(err error) bool {
	var e *api.Error
	return !errors.As(err, &e) && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled))
}

// jitter spreads waits so that requests that failed together do not come back together, and
// makes the other choices where one is as good as another.
type jitter struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newJitter(e entropy.Source) *jitter {
	// A generator that fails to be seeded still spreads waits, only the same way on every node.
	seed, _ := e.Uint64()
	return &jitter{rng: rand.New(rand.NewPCG(seed, 0))}
}

// around is a random duration from half of d to one and a half.
func (j *jitter) around(d time.Duration) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return d/2 + time.Duration(j.rng.Int64N(int64(d)+1))
}

// index is a random number below n; 0 if there is none.
func (j *jitter) index(n int) int {
	if n <= 0 {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rng.IntN(n)
}

// ended notes the error of a try that was under way when the caller's time ended.
func (a *attempts) ended(err error) {
	a.count++
	if isTimeout(err) {
		a.mayHaveRun = a.mayHaveRun || a.write
		return
	}
	code := api.CodeOf(err)
	// Of all that may have run: nobody is left to ask, and what next would end with is not the answer.
	a.mayHaveRun = a.mayHaveRun || a.write && api.Row(code).Outcome == api.MayHaveRun
	if code != api.CodeExpired {
		a.refusal = err
	}
}
