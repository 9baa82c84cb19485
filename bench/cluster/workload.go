package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// workload is what clients do, each in a closed loop.
type workload struct {
	name     string
	clients  int
	pipeline int // operations that are sent at once
	puts     int // per cent; the others read
	how      access
	keys     int           // 0: as many as the settings say
	window   time.Duration // 0: as long as the settings say
}

// access is the way in.
type access int

const (
	native access = iota // the Redis protocol, or the system's own client
	stale                // reads that may be old, spread over all nodes
	stream               // the SDK
	unary                // one gRPC call for each operation
)

// diskWorkload is the one after which the bytes on disk are counted.
const diskWorkload = "disk"

var workloads = []workload{
	{name: "put-256", clients: 256, pipeline: 1, puts: 100},
	{name: "put-64", clients: 64, pipeline: 1, puts: 100},
	{name: "put-1", clients: 1, pipeline: 1, puts: 100},
	{name: "put-64x16", clients: 64, pipeline: 16, puts: 100},
	{name: "get-256", clients: 256, pipeline: 1},
	{name: "get-64x16", clients: 64, pipeline: 16},
	{name: "stale-get-256", clients: 256, pipeline: 1, how: stale},
	{name: "mixed-64", clients: 64, pipeline: 1, puts: 20},
	{name: "grpc-put-256", clients: 256, pipeline: 1, puts: 100, how: stream},
	{name: "grpc-get-256", clients: 256, pipeline: 1, how: stream},
	{name: "unary-put-256", clients: 256, pipeline: 1, puts: 100, how: unary},
	{name: "unary-get-256", clients: 256, pipeline: 1, how: unary},
	{name: diskWorkload, clients: 256, pipeline: 1, puts: 100, keys: 1_000_000, window: 60 * time.Second},
}

// op is one operation; it reads if there is no value.
type op struct {
	key, value []byte
}

// client runs operations that are sent together, and returns when all are answered.
type client interface {
	do(ctx context.Context, ops []op) error
	close()
}

// row is what one run of a workload came to.
type row struct {
	ops, failed          int64
	window               time.Duration
	p50, p99, p999       time.Duration
	serverCPU, clientCPU time.Duration
	diskBytes            int64
	breakdown            breakdown // of the disk's workload, if the system knows
	firstError           string
}

func (r row) perSecond() float64 { return float64(r.ops) / r.window.Seconds() }

func (r row) serverMicros() float64 {
	return float64(r.serverCPU.Microseconds()) / float64(max(r.ops, 1))
}

// load writes every key once.
func load(ctx context.Context, s settings, sys running) error {
	const clients, batch = 32, 16
	var next atomic.Int64
	errs := make(chan error, clients)
	for i := range clients {
		c, err := sys.client(ctx, i, workload{pipeline: batch})
		if err != nil {
			return err
		}
		go func() {
			defer c.close()
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for {
				first := int(next.Add(batch)) - batch
				if first >= s.keys {
					errs <- nil
					return
				}
				var ops []op
				for k := first; k < min(first+batch, s.keys); k++ {
					ops = append(ops, op{key: keyOf(k), value: randomValue(rng, s.valueBytes)})
				}
				if err := c.do(ctx, ops); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	var all []error
	for range clients {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func keyOf(i int) []byte { return fmt.Appendf(nil, "key:%012d", i) }

func randomValue(rng *rand.Rand, size int) []byte {
	v := make([]byte, 0, size+8)
	for len(v) < size {
		v = binary.LittleEndian.AppendUint64(v, rng.Uint64())
	}
	return v[:size]
}

// worker is one client's loop with what it saw.
type worker struct {
	client  client
	rng     *rand.Rand
	latency []time.Duration
	ops     int64
	failed  int64
	err     error
}

// measure runs a workload.
func measure(ctx context.Context, s settings, sys running, w workload) (row, error) {
	workers := make([]*worker, w.clients)
	for i := range workers {
		c, err := sys.client(ctx, i, w)
		if err != nil {
			return row{}, err
		}
		defer c.close()
		workers[i] = &worker{client: c, rng: rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))}
	}
	var counting atomic.Bool
	window := s.window
	if w.window > 0 {
		window = w.window
	}
	loading, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, each := range workers {
		wg.Go(func() { each.loop(loading, s, w, &counting) })
	}
	if err := wait(ctx, s.warmUp); err != nil {
		return row{}, err
	}
	explain, err := explanation(ctx, sys, w)
	if err != nil {
		return row{}, err
	}
	before := sys.usage()
	began := time.Now()
	counting.Store(true)
	err = wait(ctx, window)
	counting.Store(false)
	out := row{window: time.Since(began)}
	after := sys.usage()
	cancel()
	wg.Wait()
	if w.name == diskWorkload {
		var failed error
		out.breakdown, failed = explain(sys.flush)
		after.disk = sys.usage().disk
		err = errors.Join(err, failed)
	}
	out.add(before, after)
	out.gather(workers)
	return out, err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func (k *worker) loop(ctx context.Context, s settings, w workload, counting *atomic.Bool) {
	keys := s.keys
	if w.keys > 0 {
		keys = w.keys
	}
	values := make([][]byte, 64)
	for i := range values {
		values[i] = randomValue(k.rng, s.valueBytes)
	}
	ops := make([]op, w.pipeline)
	for ctx.Err() == nil {
		for i := range ops {
			ops[i] = op{key: keyOf(k.rng.IntN(keys))}
			if k.rng.IntN(100) < w.puts {
				ops[i].value = values[k.rng.IntN(len(values))]
			}
		}
		began, counted := time.Now(), counting.Load()
		err := k.client.do(ctx, ops)
		if !counted || !counting.Load() {
			continue
		}
		if err != nil {
			k.failed++
			k.err = err
			continue
		}
		k.ops += int64(len(ops))
		k.latency = append(k.latency, time.Since(began))
	}
}

func (r *row) gather(workers []*worker) {
	var all []time.Duration
	for _, k := range workers {
		r.ops += k.ops
		r.failed += k.failed
		if k.err != nil {
			r.firstError = k.err.Error()
		}
		all = append(all, k.latency...)
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	at := func(share float64) time.Duration { return all[min(int(float64(len(all))*share), len(all)-1)] }
	r.p50, r.p99, r.p999 = at(0.5), at(0.99), at(0.999)
}
