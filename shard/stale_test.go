package shard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
)

// newStaleCluster is three nodes whose stopwatch the test moves.
func newStaleCluster(t *testing.T, wall clock.Clock) (*cluster, *clock.Manual) {
	stopwatch := clock.NewManual(time.UnixMilli(1))
	return newCluster(t, 3, wall, func(n *node) { n.stopwatch = stopwatch }), stopwatch
}

// ask is the way from one node to another, as Forward.ReadIndex is.
func (n *node) ask(ctx context.Context, leader api.NodeID) (Proof, error) {
	for _, other := range n.c.nodes {
		if other.id != leader {
			continue
		}
		n.c.mu.Lock()
		cut := n.c.cut[string(n.id)] || n.c.cut[string(leader)]
		n.c.mu.Unlock()
		if cut || other.shard == nil {
			return Proof{}, api.Errorf(api.CodeUnavailable, "node %s cannot be reached", leader)
		}
		return other.shard.Prove(ctx)
	}
	return Proof{}, fmt.Errorf("no node %s", leader)
}

func (n *node) getStale(key string, bound time.Duration) (api.Item, error) {
	items, err := n.shard.GetStale(n.c.t.Context(), 1, 0, [][]byte{[]byte(key)}, Staleness{Bound: bound, Ask: n.ask})
	if err != nil {
		return api.Item{}, err
	}
	return items[0], nil
}

// mustGetStale retries: right after an election a leader may not answer yet.
func (n *node) mustGetStale(key string, bound time.Duration) api.Item {
	n.c.t.Helper()
	var item api.Item
	testkit.Eventually(n.c.t, patience, func() bool {
		var err error
		item, err = n.getStale(key, bound)
		if err != nil && !errors.Is(err, api.ErrTooStale) {
			n.c.t.Fatal(err)
		}
		return err == nil
	}, "a stale read")
	return item
}

func (c *cluster) follower() *node {
	leader := c.leader()
	for _, n := range c.nodes {
		if n != leader && n.shard != nil {
			return n
		}
	}
	c.t.Fatal("no follower")
	return nil
}

// S8: a follower that is cut off answers from what it has for as long as its proof is good, and
// not a moment longer, while the majority goes on.
func TestAFollowerThatIsCutOffRefusesOnceTheBoundIsOver(t *testing.T) {
	c, stopwatch := newStaleCluster(t, clock.Real{})
	const bound = time.Second
	c.do(batch(put("k", "1")))
	f := c.follower()
	if item := f.mustGetStale("k", bound); string(item.Value) != "1" {
		t.Fatalf("%+v", item)
	}
	c.cutOff(f.id, true)
	c.do(batch(put("k", "2")))
	rng := testkit.Rand(t)
	for since := time.Duration(0); since < 2*bound; {
		item, err := f.getStale("k", bound)
		switch {
		case since <= bound && (err != nil || string(item.Value) != "1"):
			t.Fatalf("%v after the cut: %+v, %v", since, item, err)
		case since > bound && !errors.Is(err, api.ErrTooStale):
			t.Fatalf("%v after the cut: %+v, %v", since, item, err)
		}
		step := 1 + time.Duration(rng.Int64N(int64(bound/5)))
		if since <= bound && since+step > bound {
			step = bound - since // the last moment, and the first after it
			if since == bound {
				step = 1
			}
		}
		stopwatch.Advance(step)
		since += step
	}
	if page, err := f.shard.ScanStale(t.Context(), 1, api.Range{}, Staleness{Bound: bound, Ask: f.ask}); !errors.Is(err, api.ErrTooStale) {
		t.Fatalf("a scan: %+v, %v", page, err)
	}
	if item, err := f.getStale("k", 3*bound); err != nil || string(item.Value) != "1" {
		t.Fatalf("with a wider bound: %+v, %v", item, err)
	}
	c.cutOff(f.id, false)
	testkit.Eventually(t, patience, func() bool {
		item, err := f.getStale("k", bound)
		if err == nil && string(item.Value) != "2" {
			t.Fatalf("healed: %+v", item)
		}
		return err == nil
	}, "an answer after the cut is healed")
}

func TestAFollowerReadsWhatItsLeaderHasConfirmed(t *testing.T) {
	c, stopwatch := newStaleCluster(t, clock.Real{})
	for i := range 20 {
		want := fmt.Sprint(i)
		c.do(batch(put("k", want)))
		stopwatch.Advance(2 * time.Second)
		for _, n := range c.nodes {
			if item := n.mustGetStale("k", time.Second); string(item.Value) != want {
				t.Fatalf("%s read %q after %q was acknowledged and its proof was too old", n.id, item.Value, want)
			}
			page, err := n.shard.ScanStale(t.Context(), 1, api.Range{}, Staleness{Bound: time.Second, Ask: n.ask})
			if err != nil || len(page.Items) != 1 || string(page.Items[0].Value) != want {
				t.Fatalf("%s scanned %+v, %v", n.id, page, err)
			}
		}
	}
}

func TestProofsGoOnAfterTheLeaderIsGone(t *testing.T) {
	c, stopwatch := newStaleCluster(t, clock.Real{})
	c.do(batch(put("k", "1")))
	old, f := c.leader(), c.follower()
	f.mustGetStale("k", time.Second)
	old.stop()
	if item, err := f.getStale("k", time.Second); err != nil || string(item.Value) != "1" {
		t.Fatalf("the proof of the old leader holds: %+v, %v", item, err)
	}
	c.do(batch(put("k", "2")))
	stopwatch.Advance(2 * time.Second)
	for _, n := range c.nodes {
		if n != old {
			if item := n.mustGetStale("k", time.Second); string(item.Value) != "2" {
				t.Fatalf("%s under the new leader: %+v", n.id, item)
			}
		}
	}
}

// S3: expiry is judged by the leader's time, not by what the follower has applied.
func TestAFollowerSeesKeysExpireOnAnIdleShard(t *testing.T) {
	for name, lifetime := range map[string]time.Duration{"below the ceiling": 300 * time.Millisecond, "far above it": time.Minute} {
		t.Run(name, func(t *testing.T) {
			wall := clock.NewManual(time.UnixMilli(int64(startMillis)))
			c, stopwatch := newStaleCluster(t, wall)
			c.do(batch(api.Op{
				Kind: api.OpPut, Key: []byte("k"), Value: []byte("v"),
				Expiry: api.Expiry{Mode: api.ExpiryAfter, Millis: uint64(lifetime.Milliseconds())},
			}))
			f := c.follower()
			expiry := f.mustGetStale("k", time.Second).ExpiryMillis
			for _, at := range []uint64{expiry - 1, expiry} {
				passed := time.UnixMilli(int64(at)).Sub(wall.Now())
				wall.Advance(passed)
				stopwatch.Advance(max(passed, 2*time.Second))
				if item := f.mustGetStale("k", time.Second); item.Found != (at < expiry) {
					t.Fatalf("%d ms before its expiry: %+v", expiry-at, item)
				}
			}
			wall.Advance(-time.Hour)
			if item := f.mustGetStale("k", time.Second); item.Found {
				t.Fatalf("after the clocks were set back: %+v", item)
			}
		})
	}
}

// lone is a reader of one machine whose proofs the test makes.
func lone(t *testing.T, stopwatch clock.Clock, fetch func(context.Context, AskLeader) (Proof, error)) (*bench, *reader) {
	b := configuredBench(t)
	r := &reader{id: 7, machine: b.m, clock: &hybridClock{wall: clock.Real{}}, proofs: newProofs(stopwatch, fetch)}
	r.applied = func(context.Context, api.Index) error { return nil }
	t.Cleanup(r.proofs.close)
	return b, r
}

func staleGet(ctx context.Context, r *reader, key string, bound time.Duration) (api.Item, error) {
	items, err := r.GetStale(ctx, 1, 0, [][]byte{[]byte(key)}, Staleness{Bound: bound})
	if err != nil {
		return api.Item{}, err
	}
	return items[0], nil
}

func TestAReplicaThatLagsWaitsUntilItHasApplied(t *testing.T) {
	var b *bench
	b, r := lone(t, clock.Real{}, func(context.Context, AskLeader) (Proof, error) { return Proof{Index: b.index + 1}, nil })
	waiting, caughtUp := make(chan struct{}), make(chan struct{})
	r.applied = func(_ context.Context, index api.Index) error {
		close(waiting)
		<-caughtUp
		return nil
	}
	done := make(chan api.Item, 1)
	go func() {
		item, err := staleGet(t.Context(), r, "k", time.Minute)
		if err != nil {
			t.Error(err)
		}
		done <- item
	}()
	select {
	case <-waiting:
	case item := <-done:
		t.Fatalf("answered %+v without waiting", item)
	}
	b.must(put("k", "v"))
	close(caughtUp)
	if item := <-done; string(item.Value) != "v" {
		t.Fatalf("%+v", item)
	}
	// One that does not catch up does not answer, whoever says that it has.
	r.proofs.mu.newest.Index = b.index + 1
	r.applied = func(context.Context, api.Index) error { return nil }
	if item, err := staleGet(t.Context(), r, "k", time.Minute); !errors.Is(err, api.ErrTooStale) {
		t.Fatalf("%+v, %v", item, err)
	}
	r.applied = func(context.Context, api.Index) error { return api.Errorf(api.CodeExpired, "not in time") }
	if item, err := staleGet(t.Context(), r, "k", time.Minute); !errors.Is(err, api.ErrTooStale) || !strings.Contains(err.Error(), "lags") {
		t.Fatalf("%+v, %v", item, err)
	}
}

// S8: the age of a proof counts from before the leader was asked.
func TestAProofIsAsOldAsItsQuestion(t *testing.T) {
	stopwatch := clock.NewManual(time.UnixMilli(1))
	fetched := 0
	_, r := lone(t, stopwatch, func(context.Context, AskLeader) (Proof, error) {
		fetched++
		stopwatch.Advance(60 * time.Millisecond)
		return Proof{}, nil
	})
	const bound = 100 * time.Millisecond
	for step, want := range []struct {
		advance time.Duration
		fetched int
	}{{0, 1}, {40 * time.Millisecond, 1}, {time.Nanosecond, 2}, {0, 2}, {time.Hour, 3}} {
		stopwatch.Advance(want.advance)
		if _, err := staleGet(t.Context(), r, "k", bound); err != nil || fetched != want.fetched {
			t.Fatalf("step %d: %d proofs were fetched, want %d; %v", step, fetched, want.fetched, err)
		}
	}
	// A leader that takes longer than the bound proves nothing, and is not asked for ever.
	if _, err := staleGet(t.Context(), r, "k", 50*time.Millisecond); !errors.Is(err, api.ErrTooStale) || fetched != 4 {
		t.Fatalf("%d proofs were fetched; %v", fetched, err)
	}
	if _, err := staleGet(t.Context(), r, "k", 0); !errors.Is(err, api.ErrInvalid) {
		t.Fatal(err)
	}
}

// S8: the proof must still be good when the rows have been read.
func TestAReadThatTakesLongerThanItsBoundIsRefused(t *testing.T) {
	stopwatch := clock.NewManual(time.UnixMilli(1))
	_, r := lone(t, stopwatch, func(context.Context, AskLeader) (Proof, error) { return Proof{}, nil })
	waits := 0
	r.applied = func(context.Context, api.Index) error {
		if waits++; waits == 1 {
			stopwatch.Advance(time.Second)
		}
		return nil
	}
	if _, err := staleGet(t.Context(), r, "k", 100*time.Millisecond); err != nil || waits != 2 {
		t.Fatalf("a second proof should have helped: %d waits, %v", waits, err)
	}
	r.applied = func(context.Context, api.Index) error {
		stopwatch.Advance(time.Second)
		return nil
	}
	stopwatch.Advance(time.Second)
	if _, err := staleGet(t.Context(), r, "k", 100*time.Millisecond); !errors.Is(err, api.ErrTooStale) {
		t.Fatal(err)
	}
}

// S8, also for a read that had nothing to wait for when it began.
func TestAReadAtOnceThatTakesLongerThanItsBoundIsRefused(t *testing.T) {
	stopwatch := clock.NewManual(time.UnixMilli(1))
	_, r := lone(t, stopwatch, func(context.Context, AskLeader) (Proof, error) { return Proof{}, nil })
	if _, err := staleGet(t.Context(), r, "k", 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	s := Staleness{Bound: 100 * time.Millisecond}
	for _, slow := range []int{0, 1, 9} {
		uses := 0
		err := r.readStale(t.Context(), 1, s, func(*view) error {
			if uses++; uses <= slow {
				stopwatch.Advance(time.Second)
			}
			return nil
		})
		if slow == 9 && !errors.Is(err, api.ErrTooStale) || slow < 9 && (err != nil || uses != slow+1) {
			t.Fatalf("of %d uses %d were slow: %v", uses, slow, err)
		}
	}
}

// Who does not wait is answered by a proof that is at hand, and only by that.
func TestAStaleReadThatDoesNotWait(t *testing.T) {
	stopwatch := clock.NewManual(time.UnixMilli(1))
	_, r := lone(t, stopwatch, func(ctx context.Context, _ AskLeader) (Proof, error) { return Proof{}, nil })
	if _, err := staleGet(t.Context(), r, "k", 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := staleGet(ended, r, "k", 100*time.Millisecond); err != nil {
		t.Fatalf("with a proof at hand: %v", err)
	}
	r.proofs.mu.Lock()
	r.proofs.mu.newest.Index = 1000
	r.proofs.mu.Unlock()
	r.applied = func(ctx context.Context, _ api.Index) error {
		return api.Errorf(api.CodeExpired, "wait: %w", ctx.Err())
	}
	if _, err := staleGet(ended, r, "k", 100*time.Millisecond); !errors.Is(err, api.ErrTooStale) {
		t.Fatalf("with a proof of what is not applied: %v", err)
	}
}

func TestAllWhoWaitShareOneProof(t *testing.T) {
	var fetched atomic.Int64
	asked, release := make(chan struct{}), make(chan struct{})
	_, r := lone(t, clock.Real{}, func(context.Context, AskLeader) (Proof, error) {
		if fetched.Add(1) == 1 {
			close(asked)
		}
		<-release
		return Proof{}, nil
	})
	var wg sync.WaitGroup
	read := func() {
		if _, err := staleGet(t.Context(), r, "k", time.Minute); err != nil {
			t.Error(err)
		}
	}
	wg.Go(read)
	<-asked
	for range 50 {
		wg.Go(read)
	}
	close(release)
	wg.Wait()
	if n := fetched.Load(); n != 1 {
		t.Fatalf("%d proofs were fetched for 51 reads", n)
	}
}

func TestALeaderThatIsSilentIsNotWaitedForLong(t *testing.T) {
	_, r := lone(t, clock.Real{}, func(ctx context.Context, _ AskLeader) (Proof, error) {
		<-ctx.Done()
		return Proof{}, ctx.Err()
	})
	began := time.Now()
	if _, err := staleGet(t.Context(), r, "k", time.Minute); !errors.Is(err, api.ErrTooStale) {
		t.Fatal(err)
	}
	if took := time.Since(began); took < proofTimeout || took > proofTimeout+patience/2 {
		t.Fatalf("refused after %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), proofTimeout/10)
	defer cancel()
	began = time.Now()
	if _, err := staleGet(ctx, r, "k", time.Minute); !errors.Is(err, api.ErrTooStale) {
		t.Fatal(err)
	}
	if took := time.Since(began); took >= proofTimeout {
		t.Fatalf("the caller's deadline of %v passed, and the answer took %v", proofTimeout/10, took)
	}
}

func TestAHintToTheNewLeaderIsFollowedOnce(t *testing.T) {
	c, _ := newStaleCluster(t, clock.Real{})
	c.do(batch(put("k", "1")))
	f := c.follower()
	f.mustGetStale("k", time.Second) // it knows the leader
	var asked []api.NodeID
	ask := func(_ context.Context, leader api.NodeID) (Proof, error) {
		asked = append(asked, leader)
		return Proof{}, &api.Error{Code: api.CodeNotLeader, Leader: api.NodeID(fmt.Sprint("hint-", len(asked)))}
	}
	leader, _ := f.shard.Leader()
	if _, err := f.shard.fetchProof(t.Context(), ask); !errors.Is(err, api.ErrNotLeader) {
		t.Fatal(err)
	}
	if len(asked) != 2 || asked[0] != leader || asked[1] != "hint-1" {
		t.Fatalf("asked %v", asked)
	}
}

// busyClock is a clock that is looked at while something else happens.
type busyClock struct {
	clock.Clock
	once      sync.Once
	meanwhile func()
}

func (c *busyClock) Now() time.Time {
	c.once.Do(c.meanwhile)
	return c.Clock.Now()
}

// A replica judges expiry at the time of a proof, so it must have applied what was written up to then.
func TestAProofCoversWhatIsAppliedUntilItsTime(t *testing.T) {
	b, r := lone(t, clock.Real{}, nil)
	b.must(putUntil("k", "v", b.now+5))
	var prolonged api.Version
	r.clock.wall = &busyClock{Clock: clock.NewManual(time.UnixMilli(int64(b.now + 10))), meanwhile: func() {
		prolonged = b.must(when(put("k", "v"), api.ConditionPresent, 0)).Version
	}}
	r.confirm = func(context.Context) error { return nil }
	p, err := r.Prove(t.Context())
	if err != nil || p.Time < prolonged || p.Index != b.index {
		t.Fatalf("%+v, %v: the key was prolonged at %s by entry %d", p, err, prolonged, b.index)
	}
}
