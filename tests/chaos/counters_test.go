package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/history"
	"github.com/lightning-db/lightning/tests/workload"
)

// counters is a tally of increments by one on several keys.
type counters struct {
	mu      sync.Mutex
	acked   map[string]int64
	unknown map[string]int64
	open    []openRequest    // not acknowledged; by the SDK only
	ids     map[string]int64 // requests made
}

type openRequest struct {
	batch   api.Batch
	release func()
}

func newCounters() *counters {
	return &counters{acked: make(map[string]int64), unknown: make(map[string]int64), ids: make(map[string]int64)}
}

// counterGroups is the number of counters in use at one time.
const counterGroups = 6

func (k *counters) note(key string, outcome history.Outcome, open *openRequest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids[key]++
	switch outcome {
	case history.OK:
		k.acked[key]++
	case history.Unknown:
		k.unknown[key]++
	}
	if open != nil {
		k.open = append(k.open, *open)
	}
}

func (k *counters) totals() (acked, unknown int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key := range k.ids {
		acked += int(k.acked[key])
		unknown += int(k.unknown[key])
	}
	return acked, unknown
}

func (k *counters) totalAcked() int { acked, _ := k.totals(); return acked }

// TestEveryRequestIDCountsOnceWhenRepliesAreLost increments through the SDK while replies are lost, deadlines
// are too short and the leader is killed; then repeats under its id what was not acknowledged.
func TestEveryRequestIDCountsOnceWhenRepliesAreLost(t *testing.T) {
	seed := newSeed(t)
	c := cluster.Start(t, cluster.Options{})
	flaky := workload.NewFlaky(seed)
	k := newCounters()
	var clients []*client.Client
	for range 4 {
		sdk := newClient(t, c, client.Options{Dialer: flaky.Dial, AttemptTimeout: 300 * time.Millisecond})
		defer func() { _ = sdk.Close() }()
		clients = append(clients, sdk)
	}
	flaky.PerMille.Store(25)
	work := func(ctx context.Context) {
		var wg sync.WaitGroup
		for i := range 8 {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			wg.Go(func() { k.incrementBySDK(ctx, clients[i%len(clients)], rng) })
		}
		wg.Wait()
	}
	whileRunning(work, func() {
		rounds(func(int) {
			atLeast(t, "replies lost", 3*time.Second, minAcked, k.totalAcked)
			leader, shards := c.LeaderOfMost(recovery)
			leader.Kill()
			c.WaitLeaderMoves(shards[0], leader, recovery)
			atLeast(t, "replies lost, leader killed", 2*time.Second, minAcked/2, k.totalAcked)
			leader.Restart()
		})
		atLeast(t, "leader back", 2*time.Second, minAcked/2, k.totalAcked)
		k.waitFaults(t, flaky)
	})
	flaky.PerMille.Store(0)
	acked, unknown := k.totals()
	say(t, "%d acknowledged, %d unknown, %d not acknowledged in all; %d replies lost, %d connections cut behind a request",
		acked, unknown, len(k.open), flaky.Lost.Load(), flaky.Cuts.Load())
	k.verifyBounds(t, c)
	k.retryOpen(t, clients[0])
	k.verifyExact(t, c)
}

// incrementBySDK gives most requests time for several attempts and some less than one.
func (k *counters) incrementBySDK(ctx context.Context, sdk *client.Client, rng *rand.Rand) {
	for ctx.Err() == nil {
		key := fmt.Sprintf("sdk/%d", rng.IntN(counterGroups))
		id, release := sdk.NewRequest()
		b := api.Batch{Request: id, Ops: []api.Op{{Kind: api.OpIncrement, Key: []byte(key), Delta: 1}}}
		limit := 2 * time.Second
		if rng.IntN(10) == 0 {
			limit = time.Duration(rng.IntN(10_000)) * time.Microsecond
		}
		opCtx, cancel := context.WithTimeout(context.Background(), limit)
		_, err := sdk.Apply(opCtx, b)
		cancel()
		outcome := workload.Outcome(err)
		if outcome == history.OK {
			release()
			k.note(key, outcome, nil)
			continue
		}
		k.note(key, outcome, &openRequest{b, release})
		cluster.Wait(ctx, 5*time.Millisecond)
	}
}

// waitFaults goes on until there were enough faults to prove something.
func (k *counters) waitFaults(t *testing.T, flaky *workload.Flaky) {
	t.Helper()
	cluster.Eventually(t, 2*recovery, "replies lost and outcomes unknown", func() error {
		if _, unknown := k.totals(); unknown < 30 || flaky.Lost.Load() < 30 {
			return fmt.Errorf("%d unknown, %d lost", unknown, flaky.Lost.Load())
		}
		return nil
	})
}

func (k *counters) verifyBounds(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	for key := range k.ids {
		final := readCounter(t, c, key)
		if final < k.acked[key] || final > k.acked[key]+k.unknown[key] {
			t.Errorf("%s is %d; %d were acknowledged and %d are unknown", key, final, k.acked[key], k.unknown[key])
		}
	}
}

// retryOpen repeats every request without an acknowledgement under its id, refused ones included:
// they did not run, so now they must.
func (k *counters) retryOpen(t *testing.T, sdk *client.Client) {
	t.Helper()
	for _, r := range k.open {
		ctx, cancel := context.WithTimeout(t.Context(), recovery)
		_, err := sdk.Apply(ctx, r.batch)
		cancel()
		if err != nil {
			t.Errorf("retry of %+v: %v", r.batch.Request, err)
		}
		r.release()
	}
}

func (k *counters) verifyExact(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ids, sum := int64(0), int64(0)
	for key, used := range k.ids {
		final := readCounter(t, c, key)
		ids, sum = ids+used, sum+final
		if final != used {
			t.Errorf("%s is %d after every request was repeated under its id; %d ids were used", key, final, used)
		}
	}
	say(t, "%d request ids, final sum %d", ids, sum)
}

func readCounter(t *testing.T, c *cluster.Cluster, key string) int64 {
	t.Helper()
	r := workload.DialRESP(c.Nodes[0].RESP, nil)
	defer r.Close()
	var out history.Output
	cluster.Eventually(t, recovery, "read "+key, func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		out, err = r.Perform(ctx, history.Input{Kind: history.Read, Key: key})
		return err
	})
	if out.Found && strconv.FormatInt(out.Number, 10) != out.Value {
		t.Fatalf("%s is %q", key, out.Value)
	}
	return out.Number
}

// TestRedisIncrementsWithLostRepliesStayWithinWhatIsKnown does the same by RESP, which has no request ids: what
// the client does not know stays unknown, but the node's own retries must not count twice.
func TestRedisIncrementsWithLostRepliesStayWithinWhatIsKnown(t *testing.T) {
	seed := newSeed(t)
	c := cluster.Start(t, cluster.Options{})
	flaky := workload.NewFlaky(seed)
	flaky.PerMille.Store(25)
	k := newCounters()
	recorder, keys := history.NewRecorder(), history.NewKeys("resp")
	work := func(ctx context.Context) {
		var wg sync.WaitGroup
		for i := range 8 {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			w := &incrementer{counters: k, recorder: recorder, keys: keys, client: i, clients: 8, group: -1, stores: respStores(c, flaky.Dial), rng: rng}
			wg.Go(func() { w.run(ctx) })
		}
		wg.Wait()
	}
	whileRunning(work, func() {
		atLeast(t, "replies lost", 2*time.Second, minAcked, k.totalAcked)
		leader, shards := c.LeaderOfMost(recovery)
		leader.Kill()
		c.WaitLeaderMoves(shards[0], leader, recovery)
		atLeast(t, "replies lost, leader killed", 2*time.Second, minAcked/2, k.totalAcked)
		leader.Restart()
		atLeast(t, "leader back", 2*time.Second, minAcked/2, k.totalAcked)
		k.waitFaults(t, flaky)
	})
	acked, unknown := k.totals()
	say(t, "%d acknowledged, %d unknown; %d replies lost, %d connections cut behind a request", acked, unknown, flaky.Lost.Load(), flaky.Cuts.Load())
	k.verifyBounds(t, c)
	report, err := history.Check(history.Counter, recorder.Operations(), 30*time.Second)
	say(t, "%v", report)
	if err != nil {
		t.Error(err)
	}
}

// incrementer is one worker on a counter that few others use.
type incrementer struct {
	*counters
	recorder *history.Recorder
	keys     *history.Keys
	client   int // a new one after every unknown outcome
	clients  int // workers
	group    int // negative: any
	reads    bool
	stores   []workload.Store
	rng      *rand.Rand
}

func (w *incrementer) run(ctx context.Context) {
	for _, s := range w.stores {
		defer s.Close()
	}
	for ctx.Err() == nil {
		if w.once() != history.OK {
			cluster.Wait(ctx, 5*time.Millisecond)
		}
		if w.reads {
			cluster.Wait(ctx, 3*time.Millisecond)
		}
	}
}

func (w *incrementer) once() history.Outcome {
	group := w.group
	if group < 0 {
		group = w.rng.IntN(counterGroups)
	}
	in := history.Input{Kind: history.Increment, Key: w.keys.Next(group), Delta: 1}
	if w.reads && w.rng.IntN(4) == 0 {
		in.Kind, in.Delta = history.Read, 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	pending := w.recorder.Begin(w.client, in)
	out, err := w.stores[w.rng.IntN(len(w.stores))].Perform(ctx, in)
	outcome := workload.Outcome(err)
	if in.Kind == history.Increment {
		w.note(in.Key, outcome, nil)
	}
	switch outcome {
	case history.OK:
		pending.OK(out)
	case history.Failed:
		pending.Failed()
	default:
		pending.Unknown(err.Error())
		if in.Kind == history.Increment {
			w.keys.Unknown(group, in.Key)
		}
		w.client += w.clients
	}
	return outcome
}
