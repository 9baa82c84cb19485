package life

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/history"
	"github.com/lightning-db/lightning/tests/workload"
)

const (
	registerGroups  = 6
	perGroup        = 4
	tallies         = 8
	registersPause  = 10 * time.Millisecond
	probePause      = 40 * time.Millisecond // and more with many shards
	historyLimit    = time.Minute
	probeAttempt    = time.Second
	requestPatience = 10 * time.Second
	enoughMissing   = 20 // keys of a client, after which it is not asked for more
)

// load is what clients do meanwhile: 24 of them read and write registers that porcupine judges, eight count and put keys,
// and one for each shard measures for how long it does not serve.
type load struct {
	f        *fleet
	recorder *history.Recorder
	tallies  []*tally
	probes   []*probe

	stop    context.CancelFunc
	working sync.WaitGroup
}

// kept is an SDK client that workers share: they do not close it.
type kept struct{ *workload.SDK }

// Close implements workload.Store.
func (kept) Close() {}

func (f *fleet) load(seed uint64) *load {
	f.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{f: f, recorder: history.NewRecorder(), stop: stop}
	f.t.Cleanup(func() { stop(); l.working.Wait() })
	sdk := f.client(client.Options{DefaultTimeout: requestPatience})
	registers := &workload.Registers{
		Recorder: l.recorder, Keys: history.NewKeys("life"), Groups: registerGroups, WorkersPerGroup: perGroup,
		Timeout: requestPatience, Pause: registersPause, Seed: seed,
		Stores: func(worker int) []workload.Store {
			if worker%2 == 0 {
				return []workload.Store{kept{&workload.SDK{Client: sdk}}}
			}
			var stores []workload.Store
			for _, n := range f.Nodes[:3] {
				s, err := workload.DialGRPC(n.GRPC, nil)
				if err != nil {
					f.t.Error(err)
					continue
				}
				stores = append(stores, s)
			}
			return stores
		},
	}
	l.working.Go(func() { registers.Run(ctx) })
	for i := range tallies {
		w := &tally{id: i}
		l.tallies = append(l.tallies, w)
		l.working.Go(func() { w.run(ctx, sdk) })
	}
	for shard, key := range keysOf(f.Table(), f.shards) {
		p := &probe{shard: shard, key: []byte(key), pause: max(probePause, time.Duration(f.shards)*probePause/16)}
		l.probes = append(l.probes, p)
		l.working.Go(func() { p.run(ctx, sdk) })
	}
	return l
}

// keysOf finds a key for each shard.
func keysOf(table *router.Table, shards int) map[api.ShardID]string {
	keys := make(map[api.ShardID]string)
	for i := 0; len(keys) < shards; i++ {
		key := "probe-" + strconv.Itoa(i)
		keys[table.ShardOf(router.Slot(0, []byte(key))).ID] = key
	}
	return keys
}

// worst is the longest time that a shard did not serve since it was asked last, and which one.
func (l *load) worst() (worst time.Duration, of api.ShardID) {
	for _, p := range l.probes {
		if gap := p.gap(); gap > worst {
			worst, of = gap, p.shard
		}
	}
	return worst, of
}

// judge ends the load and fails the test if a write was lost or counted twice, or a read saw what it could not.
func (l *load) judge() {
	t := l.f.t
	t.Helper()
	l.stop()
	l.working.Wait()
	report, err := history.Check(history.Register, l.recorder.Operations(), historyLimit)
	if err != nil {
		t.Error(err)
	}
	var sum tally
	for _, w := range l.tallies {
		w.check(t, l.f.sdk)
		sum.add(w)
	}
	probed := 0
	for _, p := range l.probes {
		p.check(t, l.f.sdk)
		probed += p.acked
	}
	say(t, "registers: %s", report)
	say(t, "counters: %d increments answered, %d with an unknown outcome of which %d were counted; %d lost, %d doubled; %d of %d keys lost; %d writes of probes",
		sum.answered, sum.unknown, sum.surplus, sum.lost, sum.doubled, sum.missing, sum.put, probed)
}

// tally counts and puts keys one after the other.
type tally struct {
	id                int
	answered, unknown int64
	put               int

	// What check found: increments that were answered and not counted, that were counted though nobody may have asked
	// for them, and those with an unknown outcome that were counted; keys that are not there.
	lost, doubled, surplus int64
	missing                int
}

func (w *tally) add(o *tally) {
	w.answered, w.unknown, w.put = w.answered+o.answered, w.unknown+o.unknown, w.put+o.put
	w.lost, w.doubled, w.surplus, w.missing = w.lost+o.lost, w.doubled+o.doubled, w.surplus+o.surplus, w.missing+o.missing
}

func (w *tally) run(ctx context.Context, c *client.Client) {
	counter := fmt.Appendf(nil, "counter-%d", w.id)
	for ctx.Err() == nil {
		_, err := c.Increment(context.Background(), 0, counter, 1)
		switch {
		case err == nil:
			w.answered++
		case errors.Is(err, api.ErrUnknownOutcome):
			w.unknown++
		}
		if _, err := c.Put(context.Background(), 0, w.key(w.put), w.key(w.put), client.PutOptions{}); err == nil {
			w.put++
		}
		cluster.Wait(ctx, registersPause)
	}
}

func (w *tally) key(i int) []byte { return fmt.Appendf(nil, "key-%d-%d", w.id, i) }

// check is invariant LF1.
func (w *tally) check(t *testing.T, c *client.Client) {
	t.Helper()
	value, err := c.Increment(t.Context(), 0, fmt.Appendf(nil, "counter-%d", w.id), 0)
	w.lost, w.doubled = max(0, w.answered-value), max(0, value-w.answered-w.unknown)
	w.surplus = min(w.unknown, max(0, value-w.answered))
	if err != nil || w.lost+w.doubled > 0 {
		t.Errorf("counter %d is %d (%v), %d increments were answered and %d are unknown", w.id, value, err, w.answered, w.unknown)
	}
	for i := range w.put {
		if v, err := c.Get(t.Context(), 0, w.key(i)); err != nil || string(v.Value) != string(w.key(i)) {
			t.Errorf("%s is %q: %v", w.key(i), v.Value, err)
			if w.missing++; w.missing == enoughMissing {
				return
			}
		}
	}
}

// probe writes one key of a shard again and again.
type probe struct {
	shard api.ShardID
	key   []byte
	pause time.Duration
	acked int // the last number that was acknowledged; owned by run

	mu      sync.Mutex
	last    time.Time // of the last acknowledgement
	longest time.Duration
}

func (p *probe) run(ctx context.Context, c *client.Client) {
	p.mu.Lock()
	p.last = time.Now()
	p.mu.Unlock()
	for i := 1; ctx.Err() == nil; i++ {
		attempt, cancel := context.WithTimeout(context.Background(), probeAttempt)
		_, err := c.Put(attempt, 0, p.key, strconv.AppendInt(nil, int64(i), 10), client.PutOptions{})
		cancel()
		if err == nil {
			p.acked = i
			p.mu.Lock()
			now := time.Now()
			p.longest = max(p.longest, now.Sub(p.last))
			p.last = now
			p.mu.Unlock()
		}
		cluster.Wait(ctx, p.pause)
	}
}

// gap is the longest time without an acknowledgement since it was asked for last.
func (p *probe) gap() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	gap := max(p.longest, now.Sub(p.last))
	p.longest = 0
	return gap
}

// check reads what was acknowledged last, or an attempt after it that was given up.
func (p *probe) check(t *testing.T, c *client.Client) {
	t.Helper()
	v, err := c.Get(t.Context(), 0, p.key)
	number, _ := strconv.Atoi(string(v.Value))
	if err != nil || number < p.acked {
		t.Errorf("the probe of shard %d reads %q (%v), %d was acknowledged", p.shard, v.Value, err, p.acked)
	}
}
