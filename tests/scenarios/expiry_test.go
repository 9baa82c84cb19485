package scenarios

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/workload"
)

var (
	expiryKeys   = flag.Int("expiry.keys", 100_000, "how many keys expire")
	expiryWithin = flag.Duration("expiry.within", 6*time.Second, "the time in which they all do")
)

const (
	// Many slow readers: a read that takes long delays few others.
	expiryReaders  = 16
	expiryInterval = 40 * time.Millisecond // between two reads of one reader
	// quiet is how long reads are measured at least before the first key expires.
	quiet = 3 * time.Second
	// mayBeEarly: shard time is never behind the leader's clock when a read is judged, and may be ahead: by half
	// a second after a change of leaders, and by as much as the clocks of two nodes differ.
	mayBeEarly = time.Second
)

// TestKeysThatExpireTogetherAreGoneOnTime lets many keys expire one after another in a short time and reads, all
// the while, those whose time has just come or is about to come, and those that stay. None may be readable after
// its expiry, and none may be gone before.
func TestKeysThatExpireTogetherAreGoneOnTime(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	e := &expiring{t: t, c: c, table: c.Table(), keys: *expiryKeys, stays: *expiryKeys / 10, within: *expiryWithin}
	e.load()
	e.measureClock()
	e.run()
	e.checkAllGone()
}

// expiring is a test under way. Keys are numbered in the order in which they expire.
type expiring struct {
	t           *testing.T
	c           *cluster.Cluster
	table       *router.Table
	keys, stays int
	from        time.Time // when the first key expires
	within      time.Duration
	loaded      time.Time
	tolerance   time.Duration // how far the clock of a node is behind ours at most

	mu             sync.Mutex
	before, during []time.Duration // of reads
	latest         time.Duration   // the largest time after its expiry at which a key was found
	earliest       time.Duration   // the largest time before its expiry at which a key was gone
	failures       []string
}

func (e *expiring) key(i int) string        { return fmt.Sprintf("expiring/%08d", i) }
func (e *expiring) stay(i int) string       { return fmt.Sprintf("stays/%08d", i) }
func (e *expiring) value(key string) string { return key + "/" + key }

func (e *expiring) expiry(i int) time.Time {
	return e.from.Add(e.within * time.Duration(i) / time.Duration(e.keys))
}

// load writes what stays, guesses from that how long the rest takes, and writes the rest so that there is some
// time left before the first key expires. If the guess was wrong it guesses again.
func (e *expiring) load() {
	ctx, cancel := context.WithTimeout(e.t.Context(), 15*time.Minute)
	defer cancel()
	kv, err := client.New(client.Options{Addresses: []string{e.c.Nodes[0].GRPC, e.c.Nodes[1].GRPC, e.c.Nodes[2].GRPC}})
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = kv.Close() }()
	start := time.Now()
	e.write(ctx, kv, e.stays, func(i int) api.Op { return e.put(e.stay(i), api.Expiry{}) })
	guess := time.Since(start) * time.Duration(e.keys) / time.Duration(e.stays)
	for try := 1; ; try++ {
		start = time.Now()
		e.from = start.Add(guess*3/2 + 2*quiet).Truncate(time.Millisecond)
		e.write(ctx, kv, e.keys, func(i int) api.Op {
			return e.put(e.key(i), api.Expiry{Mode: api.ExpiryAt, Millis: uint64(e.expiry(i).UnixMilli())})
		})
		e.loaded = time.Now()
		if e.loaded.Add(quiet).Before(e.from) {
			break
		}
		if try == 3 {
			e.t.Fatalf("%d keys take %v to write, too long for what was guessed from the first tenth", e.keys, time.Since(start))
		}
		guess = 2 * time.Since(start)
	}
	say(e.t, "%d keys that stay and %d that expire within %v; the latter written in %v, %.0f a second",
		e.stays, e.keys, e.within, e.loaded.Sub(start).Round(time.Millisecond), float64(e.keys)/e.loaded.Sub(start).Seconds())
}

func (e *expiring) put(key string, expiry api.Expiry) api.Op {
	return api.Op{Kind: api.OpPut, Key: []byte(key), Value: []byte(e.value(key)), Expiry: expiry}
}

// write applies one operation for each i below count, in batches for each shard.
func (e *expiring) write(ctx context.Context, kv api.KV, count int, op func(i int) api.Op) {
	const atOnce, batchOps = 4, 500
	var writers sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	batches := map[api.ShardID][]api.Op{}
	apply := func(id api.ShardID) {
		ops := batches[id]
		delete(batches, id)
		slots <- struct{}{}
		writers.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if res, err := kv.Apply(ctx, api.Batch{Ops: ops}); err != nil || !res.Applied {
				e.fail("a batch: applied %t, %v", res.Applied, err)
			}
		})
	}
	for i := range count {
		o := op(i)
		id := e.table.ShardOf(router.Slot(0, o.Key)).ID
		if batches[id] = append(batches[id], o); len(batches[id]) == batchOps {
			apply(id)
		}
	}
	for id := range batches {
		apply(id)
	}
	writers.Wait()
	if len(e.failures) > 0 {
		e.t.Fatal(e.failures)
	}
}

// measureClock asks the nodes by PTTL what time it is, and takes the largest difference for what a key may be late.
func (e *expiring) measureClock() {
	for _, n := range e.c.Nodes {
		r := redisClient(e.t, n)
		for i := range 20 {
			at := e.expiry(e.keys - 1 - i)
			asked := time.Now()
			left, err := r.PTTL(e.t.Context(), e.key(e.keys-1-i)).Result()
			if err != nil || left <= 0 {
				e.t.Fatalf("PTTL: %v, %v", left, err)
			}
			e.tolerance = max(e.tolerance, asked.Sub(at.Add(-left)))
		}
	}
	e.tolerance += 2 * time.Millisecond // both clocks are read to the millisecond
	say(e.t, "by PTTL, the clocks of the nodes are at most %v behind this one's", e.tolerance)
}

// run reads until all keys have expired.
func (e *expiring) run() {
	until := e.from.Add(e.within + time.Second)
	var readers sync.WaitGroup
	for i := range expiryReaders {
		r := workload.DialRESP(e.c.Nodes[i%len(e.c.Nodes)].RESP, nil)
		defer r.Close()
		readers.Go(func() { e.readLoop(until, r.Client, rand.New(rand.NewPCG(uint64(i), 0))) })
	}
	readers.Wait()
	for _, f := range e.failures {
		e.t.Error(f)
	}
	if len(e.before) < 100 || len(e.during) < 100 {
		e.t.Fatalf("only %d and %d reads", len(e.before), len(e.during))
	}
	say(e.t, "before:  %s", latencies(e.before))
	say(e.t, "during:  %s", latencies(e.during))
	say(e.t, "found at most %v after its expiry (allowed %v), gone at most %v before (allowed %v)",
		e.latest, e.tolerance, e.earliest, mayBeEarly)
}

// readLoop reads at a steady rate. A read that has to wait for the one before it counts from when it was due.
func (e *expiring) readLoop(until time.Time, r *redis.Client, rng *rand.Rand) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now(); due.Before(until); due = due.Add(expiryInterval) {
		timer.Reset(time.Until(due))
		<-timer.C
		ctx, cancel := context.WithTimeout(e.t.Context(), 30*time.Second)
		if rng.IntN(2) == 0 {
			e.readStaying(ctx, r, rng.IntN(e.stays), due)
		} else {
			e.readExpiring(ctx, r, e.near(rng), due)
		}
		cancel()
	}
}

// near is a key that expired within the last second or is about to within the next.
func (e *expiring) near(rng *rand.Rand) int {
	second := float64(e.keys) * float64(time.Second) / float64(e.within)
	now := float64(e.keys) * float64(time.Since(e.from)) / float64(e.within)
	return min(max(int(now+(2*rng.Float64()-1)*second), 0), e.keys-1)
}

func (e *expiring) readStaying(ctx context.Context, r *redis.Client, i int, due time.Time) {
	key := e.stay(i)
	got, err := r.Get(ctx, key).Result()
	e.record(due)
	if err != nil || got != e.value(key) {
		e.fail("%s is %q, %v", key, got, err)
	}
}

func (e *expiring) readExpiring(ctx context.Context, r *redis.Client, i int, due time.Time) {
	key, at := e.key(i), e.expiry(i)
	began := time.Now()
	got, err := r.Get(ctx, key).Result()
	ended := time.Now()
	e.record(due)
	e.mu.Lock()
	late, early := began.Sub(at), at.Sub(ended)
	switch {
	case err == nil:
		e.latest = max(e.latest, late)
	case errors.Is(err, redis.Nil):
		e.earliest = max(e.earliest, early)
	}
	e.mu.Unlock()
	switch {
	case err == nil && got != e.value(key):
		e.fail("%s is %q", key, got)
	case err == nil && late > e.tolerance:
		e.fail("%s was found %v after its expiry", key, late)
	case errors.Is(err, redis.Nil) && early > mayBeEarly:
		e.fail("%s was gone %v before its expiry", key, early)
	case err != nil && !errors.Is(err, redis.Nil):
		e.fail("%s: %v", key, err)
	}
}

func (e *expiring) record(due time.Time) {
	took := time.Since(due)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case due.Before(e.from):
		e.before = append(e.before, took)
	case due.Before(e.from.Add(e.within)):
		e.during = append(e.during, took)
	}
}

func (e *expiring) fail(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.failures) < 10 {
		e.failures = append(e.failures, fmt.Sprintf(format, args...))
	}
}

func latencies(all []time.Duration) string {
	slices.Sort(all)
	at := func(p float64) time.Duration {
		return all[int(p*float64(len(all)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d reads, p50 %v, p99 %v, p99.9 %v, max %v", len(all), at(0.5), at(0.99), at(0.999), at(1))
}

// checkAllGone asks for every single key once more.
func (e *expiring) checkAllGone() {
	const atOnce = 1000
	r := redisClient(e.t, e.c.Nodes[0])
	began := time.Now()
	found := int64(0)
	for i := 0; i < e.keys; i += atOnce {
		var keys []string
		for n := i; n < min(i+atOnce, e.keys); n++ {
			keys = append(keys, e.key(n))
		}
		n, err := r.Exists(e.t.Context(), keys...).Result()
		if err != nil {
			e.t.Fatal(err)
		}
		found += n
	}
	if found != 0 {
		e.t.Errorf("%d keys are still there", found)
	}
	size, err := r.DBSize(e.t.Context()).Result()
	if err != nil || size != int64(e.stays) {
		e.t.Errorf("DBSIZE is %d, %v, and %d keys stay", size, err, e.stays)
	}
	say(e.t, "%v after the last expiry: %d of %d keys found, DBSIZE %d", began.Sub(e.expiry(e.keys)).Round(time.Millisecond), found, e.keys, size)
}
