package main

import (
	"errors"
	"sync"
	"time"
)

// worker is one closed loop with what it needs and what it saw.
type worker struct {
	session session
	stream  stream
	group   group  // of the batch that is being written
	buffer  []byte // that values are read into
	seen    seen
	sum     uint64 // of what was read in this round
	done    int    // steps of this round
	latency histogram

	_ [128]byte // a worker's memory shares no cache line with another's
}

// task is what each worker does.
type task struct {
	steps  int // of each worker, in one round
	rows   int // operations in one step
	every  int // how many steps there are for each one of which the latency is taken; zero for none
	window time.Duration
	limit  time.Duration
	step   func(w *worker, i int) error
}

// row is what one measurement came to.
type row struct {
	Workload, Engine string
	Ops              int
	Seconds          float64
	CPUSeconds       float64
	P50, P99, P999   time.Duration
	Allocations      float64 // for each operation
	Sum              uint64  // of what was read in a round; zero where that depends on timing
	Cut              bool    // the limit came before the end
	Amplification    float64 // bytes written for each byte of keys and values
	Space            float64 // bytes of files for each byte of keys and values
	Resident         float64 // bytes of memory for each key
}

func (r row) perSecond() float64 { return float64(r.Ops) / r.Seconds }
func (r row) cpuNanos() float64  { return r.CPUSeconds * 1e9 / float64(r.Ops) }

// team makes workers with a stream of keys each.
func team(count, records int, draw func(worker int) func(n int) (number int, stamp uint64)) ([]*worker, error) {
	workers := make([]*worker, count)
	for i := range workers {
		s, err := newStream(records, draw(i))
		if err != nil {
			return nil, err
		}
		workers[i] = &worker{stream: s}
	}
	return workers, nil
}

func openSessions(st store, workers []*worker, rows, valueBytes int) (err error) {
	for _, w := range workers {
		if w.session, err = st.session(); err != nil {
			return err
		}
		w.buffer = make([]byte, 0, valueBytes)
		w.group = group{keys: make([][]byte, rows), values: make([][]byte, rows)}
		for i := range w.group.values {
			w.group.values[i] = newValue(valueBytes)
		}
	}
	return nil
}

// dismiss closes the sessions and gives the streams back.
func dismiss(workers []*worker) error {
	var errs []error
	for _, w := range workers {
		if w.session != nil {
			errs = append(errs, w.session.close())
		}
		w.stream.free()
		w.stream = stream{}
	}
	return errors.Join(errs...)
}

// measure runs a task. One with a window repeats its round until that has passed, after one that does not count.
func measure(workers []*worker, t task) (row, error) {
	var got row
	if t.window > 0 {
		if _, err := round(workers, t); err != nil {
			return got, err
		}
		for _, w := range workers {
			got.Sum += w.sum
			w.latency = histogram{}
		}
	}
	var elapsed time.Duration
	before := usageNow()
	for {
		d, err := round(workers, t)
		if err != nil {
			return got, err
		}
		elapsed += d
		for _, w := range workers {
			got.Ops += w.done * t.rows
			got.Cut = got.Cut || w.done < t.steps
		}
		if elapsed >= t.window {
			break
		}
	}
	after := usageNow()
	got.Seconds = elapsed.Seconds()
	got.CPUSeconds = (after.cpu - before.cpu).Seconds()
	got.Allocations = float64(after.allocations-before.allocations) / float64(max(got.Ops, 1))
	got.latencies(workers)
	return got, checkSums(workers, t, got)
}

// checkSums compares the last round with the first one: they read the same.
func checkSums(workers []*worker, t task, got row) error {
	var sum uint64
	for _, w := range workers {
		sum += w.sum
	}
	if t.window > 0 && sum != got.Sum {
		return errors.New("two rounds of the same reads have read different things")
	}
	return nil
}

func (r *row) latencies(workers []*worker) {
	all := &histogram{}
	for _, w := range workers {
		all.merge(&w.latency)
	}
	clock := clockCost()
	r.P50, r.P99, r.P999 = all.quantile(0.5, clock), all.quantile(0.99, clock), all.quantile(0.999, clock)
}

func round(workers []*worker, t task) (time.Duration, error) {
	errs := make([]error, len(workers))
	var wg sync.WaitGroup
	began := time.Now()
	for i, w := range workers {
		wg.Go(func() { errs[i] = w.loop(t, began) })
	}
	wg.Wait()
	return time.Since(began), errors.Join(errs...)
}

func (w *worker) loop(t task, began time.Time) error {
	w.sum, w.done = 0, 0
	for i := range t.steps {
		if t.every == 0 || i%t.every != 0 {
			if err := t.step(w, i); err != nil {
				return err
			}
			w.done++
			continue
		}
		start := time.Now()
		if t.limit > 0 && start.Sub(began) > t.limit {
			return nil
		}
		if err := t.step(w, i); err != nil {
			return err
		}
		w.latency.add(time.Since(start))
		w.done++
	}
	return nil
}
