package client_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

// countGets counts the calls of Get on each node and lets serve decide what comes of them.
func countGets(cluster *fakecluster.Cluster, n int, serve func(i int, next func() (any, error)) (any, error)) []atomic.Int64 {
	counts := make([]atomic.Int64, n)
	for i := range n {
		cluster.Node(i).SetIntercept(onMethod("Get", func(_ context.Context, _ string, _ any, next func() (any, error)) (any, error) {
			counts[i].Add(1)
			return serve(i, next)
		}))
	}
	return counts
}

func TestStaleReadsAreSpreadOverAllReplicas(t *testing.T) {
	// With a clock that stands still all replicas are equally quick, however busy the machine is.
	cluster, c := start(t, 3, func(o *client.Options) { o.Clock = clock.NewManual(time.UnixMilli(1)) })
	cluster.Put("k", "v")
	counts := countGets(cluster, 3, func(_ int, next func() (any, error)) (any, error) { return next() })
	stale := c.Stale(time.Second)
	for range 90 {
		if item, err := stale.Get(t.Context(), 0, []byte("k")); err != nil || string(item.Value) != "v" {
			t.Fatalf("%+v, %v", item, err)
		}
	}
	for i := range counts {
		// Not exactly 30: questions for the map take turns from the same counter.
		if got := counts[i].Load(); got < 20 {
			t.Errorf("node %d answered %d of 90", i, got)
		}
	}
}

func TestTheBoundIsSentAsItIs(t *testing.T) {
	cluster, c := start(t, 1)
	cluster.Put("k", "v")
	var bounds []uint32
	cluster.Node(0).SetIntercept(func(_ context.Context, method string, r any, next func() (any, error)) (any, error) {
		switch r := r.(type) {
		case *pb.GetRequest:
			bounds = append(bounds, r.GetMaxStalenessMs())
		case *pb.MultiGetRequest:
			bounds = append(bounds, r.GetMaxStalenessMs())
		}
		return next()
	})
	for _, bound := range []time.Duration{1500 * time.Millisecond, 999 * time.Microsecond, -time.Second, math.MaxInt64} {
		if _, err := c.Stale(bound).Get(t.Context(), 0, []byte("k")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Stale(2*time.Second).MultiGet(t.Context(), 0, [][]byte{[]byte("k")}); err != nil {
		t.Fatal(err)
	}
	if want := []uint32{1500, 0, 0, math.MaxUint32, 2000}; !slices.Equal(bounds, want) {
		t.Errorf("sent %v, want %v", bounds, want)
	}
	var found int
	for _, err := range c.Stale(time.Second).Scan(t.Context(), api.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		found++
	}
	if scanned := cluster.Scans(); found != 1 || len(scanned) != 1 || scanned[0].GetMaxStalenessMs() != 1000 {
		t.Errorf("%d keys by %v", found, scanned)
	}
}

func TestAStaleReadLeavesAReplicaThatIsTooOld(t *testing.T) {
	cluster, c := start(t, 3)
	cluster.Put("k", "v")
	counts := countGets(cluster, 3, func(i int, next func() (any, error)) (any, error) {
		if i != 2 {
			return nil, api.Errorf(api.CodeTooStale, "no proof")
		}
		return next()
	})
	begun := time.Now()
	for range 30 {
		if item, err := c.Stale(time.Second).Get(t.Context(), 0, []byte("k")); err != nil || !item.Found {
			t.Fatalf("%+v, %v", item, err)
		}
	}
	t.Logf("30 reads with %d refusals took %v", counts[0].Load()+counts[1].Load(), time.Since(begun))
	if counts[2].Load() != 30 || counts[0].Load() == 0 {
		t.Errorf("asked %d, %d, %d times", counts[0].Load(), counts[1].Load(), counts[2].Load())
	}
}

func TestATooOldClusterIsSaidToBeTooOld(t *testing.T) {
	cluster, c := start(t, 3)
	countGets(cluster, 3, func(int, func() (any, error)) (any, error) { return nil, api.Errorf(api.CodeTooStale, "no proof") })
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if _, err := c.Stale(time.Second).Get(ctx, 0, []byte("k")); !errors.Is(err, api.ErrTooStale) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestStaleReadsAvoidSlowAndDeadReplicas(t *testing.T) {
	cluster, c := start(t, 3, withAttemptTimeout(100*time.Millisecond))
	cluster.Put("k", "v")
	counts := countGets(cluster, 3, func(i int, next func() (any, error)) (any, error) {
		if i == 1 {
			wait := time.NewTimer(20 * time.Millisecond)
			<-wait.C
		}
		return next()
	})
	cluster.Node(2).Stop()
	begun := time.Now()
	for range 100 {
		if _, err := c.Stale(time.Second).Get(t.Context(), 0, []byte("k")); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("100 reads in %v: %d on the fast replica, %d on the slow one", time.Since(begun), counts[0].Load(), counts[1].Load())
	if counts[1].Load() > 20 {
		t.Errorf("the slow replica was asked %d times", counts[1].Load())
	}
}

func TestEveryCallIsObserved(t *testing.T) {
	events := make(chan client.Event, 100)
	cluster := fakecluster.New(3)
	t.Cleanup(cluster.Close)
	c := connect(t, cluster, func(o *client.Options) { o.Observe = func(e client.Event) { events <- e } })
	last := func() client.Event {
		t.Helper()
		select {
		case e := <-events:
			return e
		default:
			t.Fatal("no event")
			return client.Event{}
		}
	}
	mustPut(t, c, "k", "v")
	if e := last(); e.Operation != "apply" || e.Attempts != 1 || e.Code != "" || e.Duration <= 0 || e.Stale {
		t.Errorf("put: %+v", e)
	}
	key := keyOn(1, 3)
	for i := range 3 {
		cluster.Node(i).SetRedirect()
	}
	cluster.SetLeader(2, 2)
	if _, err := c.Get(t.Context(), 0, key); err != nil {
		t.Fatal(err)
	}
	if e := last(); e.Operation != "get" || e.Attempts != 2 || e.Redirects != 1 {
		t.Errorf("a get that was sent elsewhere: %+v", e)
	}
	if _, err := c.Stale(time.Second).Get(t.Context(), 0, key); err != nil {
		t.Fatal(err)
	}
	if e := last(); !e.Stale {
		t.Errorf("stale get: %+v", e)
	}
	mustPut(t, c, "word", "w")
	last()
	if _, err := c.Increment(t.Context(), 0, []byte("word"), 1); err == nil {
		t.Fatal("a word was incremented")
	}
	if e := last(); e.Code != api.CodeNotInteger {
		t.Errorf("increment of a word: %+v", e)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = c.Get(canceled, 0, key)
	if e := last(); e.Attempts != 0 || e.Code != api.CodeExpired {
		t.Errorf("a call whose context has ended: %+v", e)
	}
	_, _ = c.Get(t.Context(), 0, nil)
	if len(events) != 0 {
		t.Errorf("a call that was never made has the event %+v", last())
	}
}

func TestCompareAndSwapLetsOneWin(t *testing.T) {
	_, c := start(t, 1)
	first, err := c.CompareAndSwap(t.Context(), 0, []byte("k"), []byte("1"), 0)
	if err != nil || first == 0 {
		t.Fatalf("of an absent key: %v, %v", first, err)
	}
	if again, err := c.CompareAndSwap(t.Context(), 0, []byte("k"), []byte("2"), 0); err != nil || again != 0 {
		t.Errorf("of a key that is there: %v, %v", again, err)
	}
	if second, err := c.CompareAndSwap(t.Context(), 0, []byte("k"), []byte("2"), first); err != nil || second <= first {
		t.Errorf("of the version that was read: %v, %v", second, err)
	}
	if item, err := c.Get(t.Context(), 0, []byte("k")); err != nil || string(item.Value) != "2" {
		t.Errorf("%+v, %v", item, err)
	}
}
