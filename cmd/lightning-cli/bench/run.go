package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// failurePause is how long a client waits after a round of which nothing succeeded: a store that
// is down is not worth a busy loop.
const failurePause = 50 * time.Millisecond

// maxErrorCodes bounds the codes that are told apart; servers choose them.
const maxErrorCodes = 32

// otherErrors is the code of the errors beyond maxErrorCodes.
const otherErrors = "(others)"

// Run puts the load on the target. When ctx ends early the report covers what was done.
func Run(ctx context.Context, o Options, target Target) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &run{options: o, target: target, value: make([]byte, o.ValueBytes)}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	for i := range r.value {
		r.value[i] = 'a' + byte(random.IntN(26)) // not of one letter, which would compress to nothing
	}
	if err := r.probe(ctx); err != nil {
		return nil, err
	}
	if o.reads() {
		if err := r.fill(ctx); err != nil {
			return nil, err
		}
	}
	return r.measure(ctx), nil
}

// run is one run. The fields are set before the clients start.
type run struct {
	options Options
	target  Target
	value   []byte
	begins  time.Time // of what is counted
	ends    time.Time

	begun atomic.Uint64 // operations
}

func (r *run) probe(ctx context.Context) error {
	outcome := make([]error, 1)
	r.round(ctx, []Operation{{Kind: Read, Key: r.options.key(0)}}, outcome)
	if outcome[0] != nil {
		return fmt.Errorf("%s does not answer: %w", r.target.Name(), outcome[0])
	}
	return nil
}

// round is bounded by its timeout, and so is the end of a run.
func (r *run) round(ctx context.Context, operations []Operation, outcomes []error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	r.target.Do(ctx, operations, outcomes)
	if r.options.Progress != nil {
		r.options.Progress(len(operations))
	}
}

// fill writes every key once. Its first error ends it.
func (r *run) fill(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Uint64
	var clients sync.WaitGroup
	for range r.options.Clients {
		clients.Go(func() {
			operations, outcomes := r.buffers()
			for ctx.Err() == nil {
				first := next.Add(uint64(len(operations))) - uint64(len(operations))
				count := min(uint64(len(operations)), uint64(r.options.KeyCount)-min(first, uint64(r.options.KeyCount)))
				if count == 0 {
					return
				}
				for i := range operations[:count] {
					operations[i] = r.write(first + uint64(i))
				}
				r.round(ctx, operations[:count], outcomes[:count])
				for _, err := range outcomes[:count] {
					if err != nil {
						cancel(fmt.Errorf("fill the keys: %w", err))
						return
					}
				}
			}
		})
	}
	clients.Wait()
	return context.Cause(ctx)
}

func (r *run) buffers() ([]Operation, []error) {
	return make([]Operation, r.options.Pipeline), make([]error, r.options.Pipeline)
}

func (r *run) write(key uint64) Operation {
	return Operation{Kind: Write, Key: r.options.key(key), Value: r.value, TTL: r.options.TTL}
}

// measure runs the clients until the time or the count is used up.
func (r *run) measure(ctx context.Context) *Report {
	r.begins = time.Now().Add(r.options.WarmUp)
	r.ends = r.begins.Add(r.options.Duration)
	tallies := make([]*tally, r.options.Clients)
	var clients sync.WaitGroup
	for i := range tallies {
		c := &worker{run: r, tally: newTally(), random: rand.New(rand.NewPCG(r.options.Seed, uint64(i)+1))}
		if r.options.Distribution == Zipf {
			c.zipf = rand.NewZipf(c.random, zipfExponent, 1, uint64(r.options.KeyCount)-1)
		}
		tallies[i] = c.tally
		clients.Go(func() { c.loop(ctx) })
	}
	clients.Wait()
	sum := newTally()
	for _, t := range tallies {
		sum.merge(t)
	}
	return r.report(sum, ctx.Err() != nil)
}

// worker is one client. Owned by its goroutine.
type worker struct {
	run    *run
	tally  *tally
	random *rand.Rand
	zipf   *rand.Zipf // nil when keys are uniform
}

func (w *worker) loop(ctx context.Context) {
	operations, outcomes := w.run.buffers()
	for ctx.Err() == nil {
		began := time.Now()
		if !began.Before(w.run.ends) {
			return
		}
		count := w.claim(began, len(operations))
		if count == 0 {
			return
		}
		for i := range operations[:count] {
			operations[i] = w.next()
		}
		w.run.round(ctx, operations[:count], outcomes[:count])
		ended := time.Now()
		succeeded := ctx.Err() == nil
		if !began.Before(w.run.begins) && succeeded {
			succeeded = w.tally.add(w.run.target, operations[:count], outcomes[:count], ended.Sub(began), ended)
		} else if succeeded {
			succeeded = anySucceeded(outcomes[:count])
		}
		if !succeeded {
			pause(ctx, failurePause)
		}
	}
}

// claim takes up to most operations from the count, if there is one. The warm-up takes none.
func (w *worker) claim(now time.Time, most int) int {
	limit := w.run.options.Count
	if limit == 0 || now.Before(w.run.begins) {
		return most
	}
	before := w.run.begun.Add(uint64(most)) - uint64(most)
	return int(min(uint64(most), limit-min(before, limit)))
}

func (w *worker) next() Operation {
	key := w.choose()
	kind := Write
	switch w.run.options.Workload {
	case Get:
		kind = Read
	case Increment:
		kind = Add
	case Mixed:
		if w.random.IntN(mixedAll) < mixedReads {
			kind = Read
		}
	}
	switch kind {
	case Write:
		return w.run.write(key)
	case Add:
		// Counters have names of their own: the other workloads leave values that are no integers.
		return Operation{Kind: Add, Key: "n" + w.run.options.key(key)}
	default:
		return Operation{Kind: Read, Key: w.run.options.key(key)}
	}
}

func (w *worker) choose() uint64 {
	if w.zipf != nil {
		return w.zipf.Uint64()
	}
	return w.random.Uint64N(uint64(w.run.options.KeyCount))
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func anySucceeded(outcomes []error) bool {
	for _, err := range outcomes {
		if err == nil {
			return true
		}
	}
	return false
}
