package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

// K1, K3: the answers of what was executed are lost with the stream, again and again.
func TestABrokenStreamLosesNothingAndDoublesNothing(t *testing.T) {
	const calls, breaks = 250, 4 // a thousand are more than two busy cores answer within the limits of an attempt
	cluster, c := start(t, 1)
	var executed atomic.Int64
	cluster.Node(0).SetIntercept(onBatch(func(_ context.Context, _ string, _ any, next func() (any, error)) (any, error) {
		response, err := next()
		if n := executed.Add(1); n%(calls/breaks) == calls/breaks/2 && n < 2*calls {
			cluster.Node(0).Cut()
		}
		return response, err
	}))
	var callers sync.WaitGroup
	sums := make([]int64, calls)
	for i := range calls {
		callers.Go(func() {
			var err error
			if sums[i], err = c.Increment(t.Context(), 0, []byte("sum"), 1); err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	callers.Wait()
	if value, _ := cluster.Value("sum"); string(value) != fmt.Sprint(calls) {
		t.Errorf("the sum of %d increments is %s", calls, value)
	}
	seen := make(map[int64]bool)
	for i, sum := range sums {
		if seen[sum] {
			t.Errorf("caller %d got the answer %d of another", i, sum)
		}
		seen[sum] = true
	}
	t.Logf("%d writes arrived for %d calls, in %d messages", len(cluster.Writes()), calls, cluster.Messages())
	if len(cluster.Writes()) == calls {
		t.Error("no call was repeated: the stream did not break while calls were under way")
	}
}

// Those who share the stream with a caller who gives up are not concerned, whether or not his call
// has been answered by then.
func TestACallerWhoGivesUpLeavesTheOthers(t *testing.T) {
	cluster, c := start(t, 1)
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	cluster.Node(0).SetIntercept(onBatch(func(_ context.Context, _ string, request any, next func() (any, error)) (any, error) {
		response, err := next()
		if bytes.Contains(fmt.Append(nil, request), []byte("slow")) {
			close(entered)
			<-release
		}
		return response, err
	}))
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := c.Increment(ctx, 0, []byte("slow"), 1)
		gone <- err
	}()
	<-entered
	mustPut(t, c, "quick", "1")
	cancel()
	if err := <-gone; !errors.Is(err, api.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("the caller who gave up: %v", err)
	}
	mustPut(t, c, "quick", "2")
	if n := len(cluster.Writes()); n != 3 {
		t.Errorf("%d writes arrived, want 3: nothing had to be repeated", n)
	}
}

func TestANodeThatKnowsNoStreamsIsServedCallByCall(t *testing.T) {
	cluster := fakecluster.New(1)
	t.Cleanup(cluster.Close)
	cluster.Node(0).SetUnary()
	c := connect(t, cluster)
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			if _, err := c.Increment(t.Context(), 0, []byte("sum"), 1); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	item, err := c.Get(t.Context(), 0, []byte("sum"))
	if err != nil || string(item.Value) != "50" || cluster.Messages() != 0 {
		t.Errorf("%q, %v, %d messages", item.Value, err, cluster.Messages())
	}
	if n := len(cluster.Writes()); n != 50 {
		t.Errorf("%d writes arrived, want 50", n)
	}
}

// What is long would keep what is short waiting.
func TestLongRequestsAndAnswersGoBesideTheStream(t *testing.T) {
	cluster, c := start(t, 1)
	mustPut(t, c, "short", "1")
	before := cluster.Messages()
	long := bytes.Repeat([]byte("x"), 2<<20)
	if _, err := c.Put(t.Context(), 0, []byte("long"), long, client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := cluster.Messages(); n != before {
		t.Errorf("a write of 2 MiB went by the stream")
	}
	item, err := c.Get(t.Context(), 0, []byte("long"))
	if err != nil || !bytes.Equal(item.Value, long) {
		t.Errorf("get: %d bytes, %v", len(item.Value), err)
	}
	items, err := c.MultiGet(t.Context(), 0, [][]byte{[]byte("long"), []byte("short")})
	if err != nil || len(items) != 2 || !bytes.Equal(items[0].Value, long) || string(items[1].Value) != "1" {
		t.Errorf("multiget: %v", err)
	}
	if n := len(cluster.Writes()); n != 2 {
		t.Errorf("%d writes arrived, want 2", n)
	}
}

func TestARestartedNodeIsFoundAgain(t *testing.T) {
	cluster, c := start(t, 1)
	for i := range 5 {
		mustPut(t, c, "k", fmt.Sprint(i))
		cluster.Node(0).Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		_, err := c.Get(ctx, 0, []byte("k"))
		cancel()
		if err == nil {
			t.Error("a stopped node answered")
		}
		cluster.Node(0).Start()
		if item, err := c.Get(t.Context(), 0, []byte("k")); err != nil || string(item.Value) != fmt.Sprint(i) {
			t.Errorf("after the restart: %q, %v", item.Value, err)
		}
	}
}

// A caller may use his bytes again when his call has ended, also when that was before it was sent.
func TestBytesAreTheCallersAgainWhenACallEnds(t *testing.T) {
	cluster, c := start(t, 1)
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			value := make([]byte, 1000)
			for n := range 200 {
				for at := range value {
					value[at] = byte(n)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%20)*50*time.Microsecond)
				_, _ = c.Put(ctx, 0, fmt.Appendf(nil, "key-%d", i), value, client.PutOptions{})
				cancel()
			}
		})
	}
	callers.Wait()
	for _, w := range cluster.Writes() {
		if v := w.Ops[0].Value; !bytes.Equal(v, bytes.Repeat(v[:1], len(v))) {
			t.Fatal("a value was changed while it was sent")
		}
	}
	if len(cluster.Writes()) == 0 {
		t.Error("no write arrived")
	}
}
