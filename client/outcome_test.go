package client_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/fakecluster"
	"github.com/lightning-db/lightning/internal/testkit"
)

// onBatch intercepts writes only.
func onBatch(f fakecluster.Intercept) fakecluster.Intercept {
	return func(ctx context.Context, method string, request any, next func() (any, error)) (any, error) {
		if method != "Batch" {
			return next()
		}
		return f(ctx, method, request, next)
	}
}

func refuseWith(code api.Code) fakecluster.Intercept {
	return onBatch(func(context.Context, string, any, func() (any, error)) (any, error) {
		return nil, api.Errorf(code, "refused")
	})
}

// loseReply executes and then says nothing until the caller has gone.
func loseReply(ctx context.Context, _ string, _ any, next func() (any, error)) (any, error) {
	_, _ = next()
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestALostReplyIsAskedForUnderTheSameRequestID(t *testing.T) {
	cluster, c := start(t, 3)
	for i := range 3 {
		var lost atomic.Bool
		cluster.Node(i).SetIntercept(onBatch(func(_ context.Context, _ string, _ any, next func() (any, error)) (any, error) {
			response, err := next()
			if !lost.Swap(true) {
				cluster.Node(i).Cut()
			}
			return response, err
		}))
	}
	sum, err := increment(t.Context(), c, keyOn(1, 3), api.RequestID{})
	if err != nil || sum != 1 {
		t.Fatalf("increment: %d, %v; want 1", sum, err)
	}
	writes := cluster.Writes()
	if len(writes) < 2 {
		t.Fatalf("%d attempts, want a retry", len(writes))
	}
	for _, w := range writes[1:] { // K3
		if w.GetRequestId().String() != writes[0].GetRequestId().String() {
			t.Errorf("retried as %v, first sent as %v", w.GetRequestId(), writes[0].GetRequestId())
		}
	}
}

func TestAnOutcomeIsUnknownOnlyIfAnAttemptMayHaveRun(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(*fakecluster.Cluster)
		want    error
	}{
		{"lost reply", func(c *fakecluster.Cluster) { c.Node(0).SetIntercept(onBatch(loseReply)) }, api.ErrUnknownOutcome},
		{"unknown to the node", func(c *fakecluster.Cluster) { c.Node(0).SetIntercept(refuseWith(api.CodeUnknownOutcome)) }, api.ErrUnknownOutcome},
		{"failed disk", func(c *fakecluster.Cluster) { c.Node(0).SetIntercept(refuseWith(api.CodeStoreFailed)) }, api.ErrUnknownOutcome},
		{"no majority", func(c *fakecluster.Cluster) { c.Node(0).SetIntercept(refuseWith(api.CodeUnavailable)) }, api.ErrUnavailable},
		{"no leader", func(c *fakecluster.Cluster) { c.Node(0).SetIntercept(refuseWith(api.CodeNotLeader)) }, api.ErrUnavailable},
		{"overload", func(c *fakecluster.Cluster) { c.Node(0).SetIntercept(refuseWith(api.CodeOverloaded)) }, api.ErrOverloaded},
		{"passed deadline", func(c *fakecluster.Cluster) { c.Node(0).SetIntercept(refuseWith(api.CodeExpired)) }, api.ErrExpired},
	} {
		t.Run(test.name, func(t *testing.T) {
			cluster, c := start(t, 1)
			test.prepare(cluster)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, err := increment(ctx, c, []byte("k"), api.RequestID{})
			if !errors.Is(err, test.want) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v (%s), want %s at the deadline", err, api.CodeOf(err), test.want)
			}
			if test.want != api.ErrUnknownOutcome && errors.Is(err, api.ErrUnknownOutcome) {
				t.Errorf("%v also matches unknown", err)
			}
		})
	}
}

func TestAWriteThatNobodyCouldBeAskedForWasNotExecuted(t *testing.T) {
	cluster := fakecluster.New(1)
	cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = increment(ctx, c, []byte("k"), api.RequestID{})
	if !errors.Is(err, api.ErrUnavailable) || errors.Is(err, api.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err) // K1
	}
}

func TestARefusalAfterALostReplyIsUnknown(t *testing.T) {
	cluster, c := start(t, 1)
	var attempts atomic.Int64
	cluster.Node(0).SetIntercept(onBatch(func(_ context.Context, _ string, _ any, next func() (any, error)) (any, error) {
		if attempts.Add(1) == 1 {
			response, err := next()
			cluster.Node(0).Cut()
			return response, err
		}
		return nil, api.Errorf(api.CodeCrossShard, "the shard was split meanwhile")
	}))
	_, err := increment(t.Context(), c, []byte("k"), api.RequestID{})
	if !errors.Is(err, api.ErrUnknownOutcome) || errors.Is(err, api.ErrCrossShard) { // K2
		t.Errorf("got %v", err)
	}
}

func TestAnAnswerAfterALostReplyIsTheAnswer(t *testing.T) {
	cluster, c := start(t, 1)
	cluster.Put("k", "not a number")
	var attempts atomic.Int64
	cluster.Node(0).SetIntercept(onBatch(func(_ context.Context, _ string, _ any, next func() (any, error)) (any, error) {
		response, err := next()
		if attempts.Add(1) == 1 {
			cluster.Node(0).Cut()
		}
		return response, err
	}))
	if _, err := increment(t.Context(), c, []byte("k"), api.RequestID{}); !errors.Is(err, api.ErrNotInteger) { // K2
		t.Errorf("got %v", err)
	}
}

func TestFinalErrorsAreNotRetried(t *testing.T) {
	for _, code := range []api.Code{api.CodeInvalid, api.CodeTooLarge, api.CodeNotInteger, api.CodeCrossShard, api.CodeReleased, api.CodeInternal} {
		cluster, c := start(t, 1)
		var attempts atomic.Int64
		cluster.Node(0).SetIntercept(onBatch(func(context.Context, string, any, func() (any, error)) (any, error) {
			attempts.Add(1)
			return nil, api.Errorf(code, "refused")
		}))
		_, err := increment(t.Context(), c, []byte("k"), api.RequestID{})
		if api.CodeOf(err) != code || attempts.Load() != 1 {
			t.Errorf("%s: got %v after %d attempts", code, err, attempts.Load())
		}
	}
}

func TestASlowClockIsNamedWhenANewIDIsRefused(t *testing.T) {
	cluster, c := start(t, 1)
	cluster.Node(0).SetIntercept(refuseWith(api.CodeReleased))
	_, err := increment(t.Context(), c, []byte("k"), api.RequestID{})
	if !errors.Is(err, api.ErrReleased) || !strings.Contains(err.Error(), "clock") {
		t.Errorf("own id: %v", err)
	}
	id, release := c.NewRequest()
	defer release()
	if _, err := increment(t.Context(), c, []byte("k"), id); !errors.Is(err, api.ErrReleased) || strings.Contains(err.Error(), "clock") {
		t.Errorf("the caller's id: %v", err)
	}
}

func TestAnUnknownOutcomeIsResolvedUnderItsID(t *testing.T) {
	cluster, c := start(t, 1)
	cluster.Node(0).SetIntercept(onBatch(loseReply))
	id, release := c.NewRequest()
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := increment(ctx, c, []byte("k"), id); !errors.Is(err, api.ErrUnknownOutcome) {
		t.Fatalf("got %v", err)
	}
	cluster.Node(0).SetIntercept(nil)
	if _, err := increment(t.Context(), c, []byte("other"), api.RequestID{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the floor did not pass the id, so its answer is still there
		if sum, err := increment(t.Context(), c, []byte("k"), id); err != nil || sum != 1 {
			t.Fatalf("retry under the id: %d, %v; want 1", sum, err)
		}
	}
}

func TestTheFloorPassesAnIDThatWasGivenUpAndNoOther(t *testing.T) {
	cluster, c := start(t, 1)
	held, release := c.NewRequest()
	cluster.Node(0).SetIntercept(onBatch(loseReply))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := increment(ctx, c, []byte("k"), api.RequestID{}); !errors.Is(err, api.ErrUnknownOutcome) {
		t.Fatalf("got %v", err)
	}
	cluster.Node(0).SetIntercept(nil)
	last := func() *pb.RequestId {
		mustPut(t, c, "k", "v")
		writes := cluster.Writes()
		return writes[len(writes)-1].GetRequestId()
	}
	if id := last(); id.GetFloor() != held.Sequence {
		t.Errorf("floor %d while %d is held", id.GetFloor(), held.Sequence)
	}
	release()
	if id := last(); id.GetFloor() != id.GetSequence() {
		t.Errorf("floor %d of sequence %d although nothing is outstanding", id.GetFloor(), id.GetSequence())
	}
}

func TestACanceledCallSaysWhatItKnows(t *testing.T) {
	cluster, c := start(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cluster.Node(0).SetIntercept(onBatch(func(ctx context.Context, m string, r any, next func() (any, error)) (any, error) {
		cancel()
		return loseReply(ctx, m, r, next)
	}))
	_, err := increment(ctx, c, []byte("k"), api.RequestID{})
	if !errors.Is(err, api.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled in flight: %v", err)
	}
	_, err = increment(ctx, c, []byte("k"), api.RequestID{})
	if errors.Is(err, api.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled before: %v", err)
	}
}

func TestReadsAreNeverUnknown(t *testing.T) {
	cluster, c := start(t, 1)
	cluster.Node(0).SetIntercept(func(ctx context.Context, method string, _ any, next func() (any, error)) (any, error) {
		if method == "Get" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return next()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Get(ctx, 0, []byte("k")); !errors.Is(err, api.ErrExpired) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestCloseWaitsForTheAttemptInFlight(t *testing.T) {
	cluster, c := start(t, 1)
	entered, proceed := make(chan struct{}), make(chan struct{})
	cluster.Node(0).SetIntercept(onBatch(func(_ context.Context, _ string, _ any, next func() (any, error)) (any, error) {
		close(entered)
		<-proceed
		return next()
	}))
	result, closed := make(chan error, 1), make(chan struct{})
	go func() {
		_, err := increment(context.Background(), c, []byte("k"), api.RequestID{})
		result <- err
	}()
	<-entered
	go func() {
		_ = c.Close()
		close(closed)
	}()
	testkit.Eventually(t, long, func() bool {
		_, err := c.Get(t.Context(), 0, []byte("k"))
		return errors.Is(err, api.ErrShuttingDown)
	})
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	close(proceed)
	if err := <-result; err != nil {
		t.Errorf("the write in flight: %v", err)
	}
	<-closed
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestCloseEndsRetries(t *testing.T) {
	cluster, c := start(t, 1)
	refused := make(chan struct{}, 1000)
	cluster.Node(0).SetIntercept(onBatch(func(context.Context, string, any, func() (any, error)) (any, error) {
		refused <- struct{}{}
		return nil, api.Errorf(api.CodeUnavailable, "no majority")
	}))
	result := make(chan error, 1)
	go func() {
		_, err := increment(context.Background(), c, []byte("k"), api.RequestID{})
		result <- err
	}()
	<-refused
	_ = c.Close()
	if err := <-result; !errors.Is(err, api.ErrShuttingDown) {
		t.Errorf("got %v", err)
	}
}

func TestCountersWithLostReplies(t *testing.T) {
	const workers, rounds = 4, 60
	seed := testkit.Seed(t)
	cluster, c := start(t, 3, withAttemptTimeout(time.Second))
	for i := range 3 {
		var mu sync.Mutex
		random := testkit.NewRand(seed + int64(i))
		roll := func() int { mu.Lock(); defer mu.Unlock(); return random.IntN(10) }
		cluster.Node(i).SetIntercept(onBatch(func(ctx context.Context, _ string, _ any, next func() (any, error)) (any, error) {
			switch roll() {
			case 0: // executed, reply lost with the connection
				_, err := next()
				cluster.Node(i).Cut()
				return nil, err
			case 1: // never executed, connection lost
				cluster.Node(i).Cut()
				return nil, ctx.Err()
			case 2: // executed, and the node does not know it
				_, _ = next()
				return nil, api.Errorf(api.CodeUnknownOutcome, "lost leadership")
			}
			return next()
		}))
	}
	var acknowledged, unknown atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(seed), uint64(w)))
			for range rounds {
				id, release := c.NewRequest()
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(30))*time.Millisecond)
				_, err := increment(ctx, c, []byte("counter"), id)
				cancel()
				if errors.Is(err, api.ErrUnknownOutcome) {
					unknown.Add(1)
				}
				if err != nil {
					_, err = increment(t.Context(), c, []byte("counter"), id)
				}
				release()
				if err != nil {
					t.Errorf("retry under the id: %v", err)
					continue
				}
				acknowledged.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d of %d ids were unknown at first, %d attempts", unknown.Load(), workers*rounds, len(cluster.Writes()))
	item, err := c.Get(t.Context(), 0, []byte("counter"))
	if err != nil || string(item.Value) != "240" || acknowledged.Load() != workers*rounds {
		t.Errorf("counter %s after %d acknowledged increments, %v", item.Value, acknowledged.Load(), err)
	}
}
