package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/history"
)

// Registers runs readers and writers on few keys, so that they collide, and records the history.
type Registers struct {
	// Stores makes the stores of one worker, one per node it may use.
	Stores   func(worker int) []Store
	Recorder *history.Recorder
	Keys     *history.Keys
	// Groups is the number of keys in use at one time; WorkersPerGroup work on each. Together
	// with the unknown outcomes that Keys allows they bound the concurrency on a key, see package history.
	Groups, WorkersPerGroup int
	// Timeout is the deadline of a request.
	Timeout time.Duration
	// Pause is the time between two requests of a worker.
	Pause time.Duration
	// Lives draws how long a value that is written is there, 0 for ever; nil is for ever.
	Lives func(rng *rand.Rand) time.Duration
	Seed  uint64
}

// Run works until ctx ends.
func (r *Registers) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for id := range r.Groups * r.WorkersPerGroup {
		w := &registerWorker{Registers: r, id: id, group: id % r.Groups, client: id, stores: r.Stores(id),
			rng: rand.New(rand.NewPCG(r.Seed, uint64(id)))}
		w.node = w.rng.IntN(len(w.stores))
		wg.Go(func() { w.run(ctx) })
	}
	wg.Wait()
}

type registerWorker struct {
	*Registers
	id, group int
	client    int // a new one after every unknown outcome: a client has one request open at most
	writes    int
	node      int
	stores    []Store
	rng       *rand.Rand
	key       string
	seen      history.Seen // what this worker saw last of key
}

func (w *registerWorker) run(ctx context.Context) {
	for _, s := range w.stores {
		defer s.Close()
	}
	for ctx.Err() == nil {
		outcome := w.once()
		switch {
		case outcome != history.OK:
			w.node = (w.node + 1) % len(w.stores)
			cluster.Wait(ctx, 10*time.Millisecond)
		case w.rng.IntN(20) == 0:
			w.node = w.rng.IntN(len(w.stores))
		}
		cluster.Wait(ctx, w.Pause)
	}
}

// once does one operation. Its deadline does not follow from the end of the run: an operation that was begun
// is given its time, so that the end of a run does not make unknown outcomes.
func (w *registerWorker) once() history.Outcome {
	if key := w.Keys.Next(w.group); key != w.key {
		w.key, w.seen = key, history.Seen{}
	}
	in := w.choose()
	ctx, cancel := context.WithTimeout(context.Background(), w.Timeout)
	defer cancel()
	pending := w.Recorder.Begin(w.client, in)
	out, err := w.stores[w.node].Perform(ctx, in)
	outcome := Outcome(err)
	switch outcome {
	case history.OK:
		pending.OK(out)
		w.remember(in, out)
	case history.Failed:
		pending.Failed()
	default:
		pending.Unknown(err.Error())
		if in.Kind != history.Read {
			w.Keys.Unknown(w.group, in.Key)
		}
		w.client += w.Groups * w.WorkersPerGroup
	}
	return outcome
}

func (w *registerWorker) choose() history.Input {
	in := history.Input{Kind: history.Read, Key: w.key}
	w.writes++
	value := fmt.Sprintf("%d.%d", w.id, w.writes)
	switch p := w.rng.IntN(100); {
	case p < 40:
	case p < 70:
		in.Kind, in.Value = history.Write, value
	case p < 80:
		in.Kind = history.Delete
	default:
		cas := history.Input{Kind: history.CompareAndSet, Key: w.key, Value: value, Expected: w.seen}
		if w.stores[w.node].Supports(cas) && (!w.seen.Found || w.seen.Version != 0) {
			in = cas
		}
	}
	if w.Lives != nil && in.Value != "" {
		in.Lives = w.Lives(w.rng)
	}
	return in
}

// remember keeps what the next conditional write will expect.
func (w *registerWorker) remember(in history.Input, out history.Output) {
	switch {
	case in.Kind == history.Read:
		w.seen = out.Seen
	case in.Kind == history.Delete:
		w.seen = history.Seen{}
	case in.Kind == history.Write || out.Applied:
		w.seen = history.Seen{Found: true, Value: in.Value, Version: out.Version}
	}
}
