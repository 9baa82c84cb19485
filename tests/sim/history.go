package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/lightning-db/lightning/tests/history"
)

const (
	// formLimit is the virtual time within which a new cluster serves all shards.
	formLimit = 30 * time.Second
	// liveLimit is the virtual time after the faults within which all shards serve and all replicas
	// are equal.
	liveLimit = 30 * time.Second
	// quiet is how long clients go on after the faults.
	quiet = 2 * time.Second
	// minAcknowledged is what a history must have achieved to prove anything.
	minAcknowledged = 100
	// checkLimit is the real time for the checker of one key.
	checkLimit = 20 * time.Second
)

// Result is what became of one history.
type Result struct {
	Plan         Plan
	Acknowledged int
	Hits         int // faults that a leader felt
	Crashes      int
	Faults       map[string]int
	Virtual      time.Duration
	Trace        uint64 // of the network
	Err          error
}

// Run makes one history and judges it. It is called within a bubble, and everything that it begins has
// ended when it returns.
func Run(plan Plan, logger *slog.Logger) Result {
	return run(plan, logger, func(*Cluster) {})
}

// run is Run with a hand in the cluster once it has formed, for the positive controls.
func run(plan Plan, logger *slog.Logger, spoil func(*Cluster)) Result {
	began := time.Now()
	c, err := NewCluster(plan, logger)
	r := Result{Plan: plan, Err: err}
	if err == nil {
		r.Err = r.simulate(c, spoil)
	}
	c.Close()
	r.Virtual = time.Since(began)
	r.Hits, r.Crashes, r.Trace = c.hits, c.crashes, c.Net.Trace()
	if broken := c.violations(); len(broken) > 0 {
		r.Err = errors.Join(r.Err, errors.New(strings.Join(broken, "\n")))
	}
	return r
}

func (r *Result) simulate(c *Cluster, spoil func(*Cluster)) error {
	if err := within(formLimit, c.shardsServed); err != nil {
		return fmt.Errorf("the cluster does not form: %w", err)
	}
	spoil(c)
	clients := newLoad(c)
	working, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan struct{})
	go func() { defer close(ended); clients.run(working) }()

	// Safety: faults, and nothing is expected but truth.
	n := &nemesis{c: c, rng: rand.New(rand.NewPCG(r.Plan.Seed, 2)), did: map[string]int{}}
	harm, end := context.WithTimeout(context.Background(), r.Plan.Safety)
	m := &mover{c: c, rng: rand.New(rand.NewPCG(r.Plan.Seed, 3))}
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		if r.Plan.Moves {
			m.run(harm)
		}
	}()
	cut := &splitter{c: c, rng: rand.New(rand.NewPCG(r.Plan.Seed, 4))}
	split := make(chan struct{})
	go func() {
		defer close(split)
		if r.Plan.Splits {
			cut.run(harm)
		}
	}()
	n.run(harm)
	end()
	r.Faults = n.did
	n.recover()
	if err := errors.Join(m.ends(moved), cut.ends(split)); err != nil {
		stop()
		<-ended
		return err
	}
	if m.done > 0 {
		r.Faults["replaced replica"] = m.done
	}
	if cut.done > 0 {
		r.Faults["split shard"] = cut.done
	}

	// Liveness: without faults everything serves again, soon.
	live := within(liveLimit, c.shardsServed)
	if live == nil {
		pass(quiet)
	}
	stop()
	<-ended
	r.Acknowledged = clients.acknowledged()
	if live != nil {
		return fmt.Errorf("not served %v after the faults: %w", liveLimit, live)
	}
	if err := c.everyNodeAnswers(); err != nil {
		return err
	}
	clients.lists.readAll(newCaller(c, 999))
	if err := clients.readExpired(newCaller(c, 998)); err != nil {
		return err
	}
	if err := within(liveLimit, c.converged); err != nil {
		return fmt.Errorf("replicas do not converge: %w", err)
	}
	return errors.Join(c.checkReplicas(), clients.check())
}

// everyNodeAnswers writes and reads through each node.
func (c *Cluster) everyNodeAnswers() error {
	for i, n := range c.Nodes {
		caller := newCaller(c, 900+i)
		for attempt := range 8 { // several keys, so that all shards are asked
			in := history.Input{Kind: history.Write, Key: fmt.Sprintf("alive/%d/%d", i, attempt), Value: "yes"}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_, err := n.current().server.Apply(ctx, batchOf(in))
			if err == nil {
				var out history.Output
				caller.node = i
				out, err = caller.read(ctx, in.Key)
				if err == nil && out.Value != in.Value {
					err = fmt.Errorf("%s was written and is %q", in.Key, out.Value)
				}
			}
			cancel()
			if err != nil {
				return fmt.Errorf("%s does not work after the faults: %w", n.id, err)
			}
		}
	}
	return nil
}

// check judges what the clients saw.
func (l *load) check() error {
	_, registers := history.Check(history.Register, l.registers.Recorder.Operations(), checkLimit)
	_, lives := history.Check(expiryModel(l.c.plan), l.expiring.Recorder.Operations(), checkLimit)
	_, numbers := history.Check(history.Counter, l.counters.recorder.Operations(), checkLimit)
	_, lists := history.CheckLists(l.lists.recorder.Transactions())
	return errors.Join(registers, lives, numbers, lists)
}

// String prints one line.
func (r Result) String() string {
	var did []string
	for name, count := range r.Faults {
		did = append(did, fmt.Sprintf("%d× %s", count, name))
	}
	slices.Sort(did)
	return fmt.Sprintf("%v\n  %d operations acknowledged in %v; %d faults hit a leader, %d crashes, trace %016x: %s", r.Plan, r.Acknowledged,
		r.Virtual.Round(time.Second), r.Hits, r.Crashes, r.Trace, strings.Join(did, ", "))
}
