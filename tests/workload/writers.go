package workload

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/history"
)

// Writers write each key once, with a value of its own, and remember what was acknowledged.
type Writers struct {
	Count  int
	Prefix string
	// Stores makes the stores of one writer, one per node it may use.
	Stores func(writer int) []Store
	// Shard names the shard that owns a key; gaps are measured per shard.
	Shard   func(key string) uint64
	Timeout time.Duration
	// Pause is the time between two requests of a writer; it bounds how much a long run has to read back.
	Pause time.Duration
	// Padding is appended to every value.
	Padding string

	mu struct {
		sync.Mutex
		acked map[string]string
		phase phase
	}
}

type phase struct {
	name     string
	started  time.Time
	outcomes map[history.Outcome]int
	last     map[uint64]time.Time
	gaps     map[uint64]time.Duration
	acked    map[uint64]int
	took     map[int]int // acknowledgements by their bucket of latency
}

// Phase is what happened in one phase.
type Phase struct {
	Name                   string
	Took                   time.Duration
	Acked, Unknown, Failed int
	// P50 and P99 are latencies of what was acknowledged, up to a tenth too long.
	P50, P99 time.Duration
	// Gaps is the longest time without an acknowledgement, per shard that was written in the phase.
	Gaps map[uint64]time.Duration
}

// LongestGap is the longest of all shards.
func (p Phase) LongestGap() time.Duration {
	longest := time.Duration(0)
	for _, g := range p.Gaps {
		longest = max(longest, g)
	}
	return longest
}

// String prints one line.
func (p Phase) String() string {
	var gaps []string
	for shard, gap := range p.Gaps {
		gaps = append(gaps, fmt.Sprintf("shard %d %v", shard, gap.Round(time.Millisecond)))
	}
	slices.Sort(gaps)
	return fmt.Sprintf("%-28s %v: %d acknowledged, %d unknown, %d refused; longest gap %v (%s)", p.Name, p.Took.Round(time.Millisecond),
		p.Acked, p.Unknown, p.Failed, p.LongestGap().Round(time.Millisecond), strings.Join(gaps, ", "))
}

// Begin starts a phase and returns the one that it ends.
func (w *Writers) Begin(name string) Phase {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.mu.phase
	next := phase{name: name, started: now, outcomes: make(map[history.Outcome]int),
		last: make(map[uint64]time.Time), gaps: make(map[uint64]time.Duration),
		acked: make(map[uint64]int), took: make(map[int]int)}
	done := Phase{Name: old.name, Took: now.Sub(old.started), Gaps: old.gaps,
		Acked: old.outcomes[history.OK], Unknown: old.outcomes[history.Unknown], Failed: old.outcomes[history.Failed]}
	done.P50, done.P99 = old.quantile(0.5), old.quantile(0.99)
	for shard, last := range old.last {
		done.Gaps[shard] = max(done.Gaps[shard], now.Sub(last))
		next.last[shard] = now // a gap that reaches into the next phase is measured in both
	}
	w.mu.phase = next
	return done
}

// Each bucket of latencies ends a tenth above the one before it.
const bucketGrowth = 1.1

func bucketOf(d time.Duration) int {
	return int(math.Ceil(math.Log(float64(max(d, time.Microsecond)/time.Microsecond)) / math.Log(bucketGrowth)))
}

// quantile is the end of the bucket in which the share q of the acknowledgements is reached.
func (p *phase) quantile(q float64) time.Duration {
	rest := int(math.Ceil(q * float64(p.outcomes[history.OK])))
	for _, bucket := range slices.Sorted(maps.Keys(p.took)) {
		if rest -= p.took[bucket]; rest <= 0 {
			return time.Duration(math.Pow(bucketGrowth, float64(bucket)) * float64(time.Microsecond))
		}
	}
	return 0
}

// PhaseAcked is the number of acknowledgements in the current phase.
func (w *Writers) PhaseAcked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.phase.outcomes[history.OK]
}

// Progressed is nil once a write on shard was acknowledged in the current phase.
func (w *Writers) Progressed(shard uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.phase.acked[shard] == 0 {
		return fmt.Errorf("no write on shard %d was acknowledged in phase %q", shard, w.mu.phase.name)
	}
	return nil
}

// Acked returns every acknowledged write. Call it when Run has returned.
func (w *Writers) Acked() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.acked
}

// Run writes until ctx ends. Begin must have been called.
func (w *Writers) Run(ctx context.Context) {
	w.mu.Lock()
	w.mu.acked = make(map[string]string)
	w.mu.Unlock()
	var wg sync.WaitGroup
	for i := range w.Count {
		stores := w.Stores(i)
		wg.Go(func() { w.write(ctx, i, stores) })
	}
	wg.Wait()
}

func (w *Writers) write(ctx context.Context, writer int, stores []Store) {
	for _, s := range stores {
		defer s.Close()
	}
	node := writer % len(stores)
	for seq := 0; ctx.Err() == nil; seq++ {
		in := history.Input{Kind: history.Write, Key: fmt.Sprintf("%s/%d/%d", w.Prefix, writer, seq)}
		in.Value = "value of " + in.Key + w.Padding
		opCtx, cancel := context.WithTimeout(context.Background(), w.Timeout)
		began := time.Now()
		_, err := stores[node].Perform(opCtx, in)
		cancel()
		w.note(in, Outcome(err), time.Since(began))
		if err != nil {
			node = (node + 1) % len(stores)
			cluster.Wait(ctx, 20*time.Millisecond)
		}
		if w.Pause > 0 {
			cluster.Wait(ctx, w.Pause)
		}
	}
}

func (w *Writers) note(in history.Input, outcome history.Outcome, took time.Duration) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.mu.phase
	p.outcomes[outcome]++
	if outcome != history.OK {
		return
	}
	p.took[bucketOf(took)]++
	w.mu.acked[in.Key] = in.Value
	shard := w.Shard(in.Key)
	last, ok := p.last[shard]
	if !ok {
		last = p.started
	}
	p.acked[shard]++
	p.gaps[shard] = max(p.gaps[shard], now.Sub(last))
	p.last[shard] = now
}
