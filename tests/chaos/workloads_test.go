package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/history"
	"github.com/lightning-db/lightning/tests/workload"
)

// work is one column of the matrix: clients that go on until told to end, and a judge of what they saw.
type work interface {
	Run(ctx context.Context)
	// Judge says what was done, and fails the test if it could not have happened to one correct copy.
	Judge(t *testing.T, c *cluster.Cluster) string
}

var workloads = []struct {
	name string
	make func(t *testing.T, c *cluster.Cluster, seed uint64, p *progress) work
}{
	{"registers", newRegisters},
	{"counters", newCounterWork},
	{"sets", newSets},
	{"lists", newLists},
}

// progress sees every answer that clients get.
type progress struct {
	acked, unknown, refused atomic.Int64

	mu      sync.Mutex
	workers map[int]int // acknowledgements by worker
	last    time.Time
	gap     time.Duration
}

func newProgress() *progress { return &progress{workers: make(map[int]int)} }

func (p *progress) note(worker int, err error) {
	switch workload.Outcome(err) {
	case history.Unknown:
		p.unknown.Add(1)
		return
	case history.Failed:
		p.refused.Add(1)
		return
	}
	p.acked.Add(1)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workers[worker]++
	if !p.last.IsZero() {
		p.gap = max(p.gap, now.Sub(p.last))
	}
	p.last = now
}

func (p *progress) count() int { return int(p.acked.Load()) }

// longestGap is the longest time in which no worker got anything.
func (p *progress) longestGap() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gap
}

// waitAll waits until every worker has had an answer since the call, and returns how long that took: nothing is stuck.
func (p *progress) waitAll(t *testing.T, what string, limit time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	before := p.snapshot()
	cluster.Eventually(t, limit, "nothing is stuck: every client gets an answer after "+what, func() error {
		for worker, n := range p.snapshot() {
			if n == before[worker] {
				return fmt.Errorf("client %d got none", worker)
			}
		}
		return nil
	})
	return time.Since(start)
}

func (p *progress) snapshot() map[int]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[int]int, len(p.workers))
	for worker, n := range p.workers {
		out[worker] = n
	}
	return out
}

// watch counts what a worker's stores answer.
func (p *progress) watch(worker int, stores []workload.Store) []workload.Store {
	p.mu.Lock()
	p.workers[worker] = 0
	p.mu.Unlock()
	var out []workload.Store
	for _, s := range stores {
		out = append(out, &watched{s, worker, p})
	}
	return out
}

type watched struct {
	workload.Store
	worker int
	p      *progress
}

func (w *watched) Perform(ctx context.Context, in history.Input) (history.Output, error) {
	out, err := w.Store.Perform(ctx, in)
	w.p.note(w.worker, err)
	return out, err
}

// mixedStores gives workers gRPC, RESP and the SDK in turn.
func mixedStores(t *testing.T, c *cluster.Cluster, p *progress) func(worker int) []workload.Store {
	return func(worker int) []workload.Store {
		switch worker % 3 {
		case 0:
			return p.watch(worker, grpcStores(t, c, nil))
		case 1:
			return p.watch(worker, respStores(c, nil))
		default:
			return p.watch(worker, []workload.Store{&workload.SDK{Client: newClient(t, c, client.Options{})}})
		}
	}
}

// judge gives a history to porcupine.
func judge(t *testing.T, recorder *history.Recorder, model porcupine.Model) string {
	report, err := history.Check(model, recorder.Operations(), 30*time.Second)
	if err != nil {
		t.Error(err)
	}
	return report.String()
}

// registers are reads, writes, deletes and conditional writes of few keys.
type registers struct{ *workload.Registers }

func newRegisters(t *testing.T, c *cluster.Cluster, seed uint64, p *progress) work {
	return registers{&workload.Registers{Recorder: history.NewRecorder(), Keys: history.NewKeys("register"), Groups: 5, WorkersPerGroup: 3,
		Timeout: 2 * time.Second, Pause: 3 * time.Millisecond, Seed: seed, Stores: mixedStores(t, c, p)}}
}

func (r registers) Judge(t *testing.T, _ *cluster.Cluster) string {
	return judge(t, r.Recorder, history.Register)
}

// counterWork is increments and reads of few keys.
type counterWork struct {
	*counters
	recorder *history.Recorder
	keys     *history.Keys
	seed     uint64
	stores   func(worker int) []workload.Store
}

const counterWorkers = 12

func newCounterWork(t *testing.T, c *cluster.Cluster, seed uint64, p *progress) work {
	return &counterWork{counters: newCounters(), recorder: history.NewRecorder(), keys: history.NewKeys("counter"), seed: seed,
		stores: mixedStores(t, c, p)}
}

func (k *counterWork) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for i := range counterWorkers {
		w := &incrementer{counters: k.counters, recorder: k.recorder, keys: k.keys, client: i, clients: counterWorkers, group: i % 4,
			reads: true, stores: k.stores(i), rng: rand.New(rand.NewPCG(k.seed, uint64(i)))}
		wg.Go(func() { w.run(ctx) })
	}
	wg.Wait()
}

func (k *counterWork) Judge(t *testing.T, c *cluster.Cluster) string {
	k.verifyBounds(t, c)
	return judge(t, k.recorder, history.Counter)
}

// sets are writes of keys that are all different, by many.
type sets struct{ *workload.Writers }

func newSets(t *testing.T, c *cluster.Cluster, _ uint64, p *progress) work {
	w := &workload.Writers{Count: 24, Prefix: "kill", Shard: shardOf(c), Timeout: 2 * time.Second, Pause: 5 * time.Millisecond,
		Stores: mixedStores(t, c, p)}
	w.Begin("all")
	return sets{w}
}

func (s sets) Judge(t *testing.T, c *cluster.Cluster) string {
	verifyAcknowledged(t, c, s.Acked())
	return fmt.Sprintf("%d acknowledged writes read back through each node", len(s.Acked()))
}
