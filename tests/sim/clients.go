package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/session"
	"github.com/lightning-db/lightning/tests/history"
	"github.com/lightning-db/lightning/tests/workload"
)

// errCrashed is what a client of a node that crashes is left with.
var errCrashed = errors.New("the node crashed before it answered")

// caller is one client. It talks to one node at a time and goes on to another when that does not help.
// Half of the callers send a write again under its request id when they do not know what became of it.
type caller struct {
	cluster *Cluster
	rng     *rand.Rand
	node    int
	retries bool
	ids     *session.Allocator
}

func newCaller(c *Cluster, number int) *caller {
	rng := rand.New(rand.NewPCG(c.plan.Seed, 1000+uint64(number)))
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("caller %d/%d", c.plan.Seed, number))
	return &caller{
		cluster: c, rng: rng, node: rng.IntN(len(c.Nodes)), retries: number%2 == 0,
		ids: session.New(entropy.From(&lockedRandom{rng: rand.NewChaCha8(seed)}), &Clock{}),
	}
}

// try is one attempt at one node.
func (c *caller) try(ctx context.Context, do func(context.Context, api.KV) error) error {
	n := c.cluster.Nodes[c.node]
	l := n.current()
	if l == nil {
		wait(ctx, 20*time.Millisecond)
		return api.ErrUnavailable // nothing was sent
	}
	n.awake()
	err := do(ctx, l.server)
	n.awake()
	if l.crashed.Load() {
		return errCrashed
	}
	return err
}

// call tries until there is an answer or ctx ends. The error is nil, or says by workload.Outcome what is known.
func (c *caller) call(ctx context.Context, do func(context.Context, api.KV) error) error {
	unknown := error(nil)
	for {
		attempt, cancel := context.WithTimeout(ctx, c.cluster.plan.Timeout/2+1)
		err := c.try(attempt, do)
		cancel()
		if err == nil {
			return nil
		}
		if workload.Outcome(err) == history.Unknown {
			unknown = err
		}
		c.node = c.rng.IntN(len(c.cluster.Nodes))
		wait(ctx, 5*time.Millisecond)
		if ctx.Err() != nil || unknown != nil && !c.retries {
			break
		}
	}
	if unknown != nil {
		return unknown
	}
	return api.ErrUnavailable
}

// apply writes a batch; every attempt is under one request id if the caller retries.
func (c *caller) apply(ctx context.Context, ops func() []api.Op) (api.Result, error) {
	var id api.RequestID
	if c.retries {
		var release func()
		id, release = c.ids.Begin()
		defer release()
	}
	var result api.Result
	err := c.call(ctx, func(ctx context.Context, kv api.KV) (err error) {
		result, err = kv.Apply(ctx, api.Batch{Ops: ops(), Request: id})
		return err
	})
	if err == nil {
		wake(c.cluster.written)
	}
	return result, err
}

// Supports implements workload.Store.
func (c *caller) Supports(history.Input) bool { return true }

// Close implements workload.Store.
func (c *caller) Close() {}

// Perform implements workload.Store.
func (c *caller) Perform(ctx context.Context, in history.Input) (history.Output, error) {
	if in.Kind == history.Read {
		return c.read(ctx, in.Key)
	}
	result, err := c.apply(ctx, func() []api.Op { return []api.Op{operation(in)} })
	if err != nil {
		return history.Output{}, err
	}
	out := history.Output{Seen: history.Seen{Version: uint64(result.Version)}, Applied: result.Applied}
	if in.Kind == history.Delete && len(result.Ops) == 1 {
		out.Existed = &result.Ops[0].Existed
	}
	if in.Kind == history.Increment && len(result.Ops) == 1 {
		out.Number = result.Ops[0].Number
	}
	return out, nil
}

func operation(in history.Input) api.Op {
	op := api.Op{Key: []byte(in.Key), Value: []byte(in.Value)}
	switch in.Kind {
	case history.Write:
		op.Kind = api.OpPut
	case history.CompareAndSet:
		op.Kind = api.OpPut
		op.Condition = api.Condition{Kind: api.ConditionVersion, Version: api.Version(in.Expected.Version)}
	case history.Delete:
		op.Kind, op.Value = api.OpDelete, nil
	case history.Increment:
		op.Kind, op.Value, op.Delta = api.OpIncrement, nil, in.Delta
	}
	if in.Lives > 0 {
		op.Expiry = api.Expiry{Mode: api.ExpiryAfter, Millis: uint64(in.Lives.Milliseconds())}
	}
	return op
}

func (c *caller) read(ctx context.Context, key string) (history.Output, error) {
	var item api.Item
	err := c.call(ctx, func(ctx context.Context, kv api.KV) (err error) {
		item, err = kv.Get(ctx, 0, []byte(key))
		return err
	})
	if err != nil {
		return history.Output{}, err
	}
	out := history.Output{Seen: history.Seen{Found: item.Found, Value: string(item.Value), Version: uint64(item.Version)}}
	if !item.Found {
		out.Version = 0
	}
	out.Number, _ = strconv.ParseInt(string(item.Value), 10, 64) // meaningful for counters only
	return out, nil
}

// counters increments and reads few numbers.
type counters struct {
	recorder *history.Recorder
	keys     *history.Keys
}

func (w *counters) run(ctx context.Context, c *caller, number int) {
	plan := c.cluster.plan
	for ctx.Err() == nil {
		in := history.Input{Kind: history.Increment, Delta: 1 + c.rng.Int64N(3), Key: w.keys.Next(0)}
		if c.rng.IntN(100) < plan.Reads {
			in.Kind, in.Delta = history.Read, 0
		}
		pending := w.recorder.Begin(number, in)
		op, cancel := context.WithTimeout(context.Background(), plan.Timeout)
		out, err := c.Perform(op, in)
		cancel()
		switch workload.Outcome(err) {
		case history.OK:
			pending.OK(out)
		case history.Failed:
			pending.Failed()
		default:
			pending.Unknown(err.Error())
			number += plan.Clients
			if in.Kind != history.Read {
				w.keys.Unknown(0, in.Key)
			}
		}
		wait(ctx, plan.Pause)
	}
}

// load is the clients of one history.
type load struct {
	c         *Cluster
	registers *workload.Registers
	expiring  *workload.Registers
	counters  *counters
	lists     *lists
}

func newLoad(c *Cluster) *load {
	l := &load{c: c}
	l.registers = &workload.Registers{
		Recorder: history.NewRecorder(), Keys: history.NewKeys("register"), Groups: 2, WorkersPerGroup: max(1, c.plan.Clients/2),
		Timeout: c.plan.Timeout, Pause: c.plan.Pause, Seed: c.plan.Seed,
		Stores: func(worker int) []workload.Store { return []workload.Store{newCaller(c, worker)} },
	}
	l.expiring = newExpiring(c)
	l.counters = &counters{recorder: history.NewRecorder(), keys: history.NewKeys("counter")}
	l.lists = newLists(c)
	return l
}

// run works until ctx ends.
func (l *load) run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { l.registers.Run(ctx) })
	all.Go(func() { l.expiring.Run(ctx) })
	for i := range max(2, l.c.plan.Clients/2) {
		all.Go(func() { l.counters.run(ctx, newCaller(l.c, 100+i), i) })
	}
	for i := range l.c.plan.Clients {
		all.Go(func() { l.lists.run(ctx, newCaller(l.c, 200+i), i) })
	}
	all.Wait()
}

// acknowledged is how many operations were answered so far.
func (l *load) acknowledged() int {
	return l.registers.Recorder.Count(history.OK) + l.expiring.Recorder.Count(history.OK) + l.counters.recorder.Count(history.OK) + l.lists.recorder.Count(history.OK)
}
