package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

// onMethod intercepts one method.
func onMethod(method string, f fakecluster.Intercept) fakecluster.Intercept {
	return func(ctx context.Context, called string, request any, next func() (any, error)) (any, error) {
		if called != method {
			return next()
		}
		return f(ctx, called, request, next)
	}
}

func manyKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key-%d", i)
	}
	return keys
}

func TestMultiGetAsksEachLeaderOnce(t *testing.T) {
	cluster, c := start(t, 3)
	var mu sync.Mutex
	requests, keysAsked := 0, 0
	for i := range 3 {
		cluster.Node(i).SetRedirect() // a node that is asked for another's key refuses
		cluster.Node(i).SetIntercept(onMethod("MultiGet", func(_ context.Context, _ string, r any, next func() (any, error)) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			requests++
			keysAsked += len(r.(*pb.MultiGetRequest).GetKeys())
			return next()
		}))
	}
	keys := manyKeys(300)
	if _, err := c.MultiGet(t.Context(), 0, keys); err != nil {
		t.Fatal(err)
	}
	if requests != 3 || keysAsked != len(keys) {
		t.Errorf("%d requests for %d keys, want 3 for %d", requests, keysAsked, len(keys))
	}
}

func TestMultiGetFollowsAShardThatMoved(t *testing.T) {
	cluster, c := start(t, 3)
	keys := manyKeys(60)
	for _, k := range keys {
		cluster.Put(string(k), "v")
	}
	cluster.SetLeader(1, 2)
	cluster.Node(0).Stop()
	items, err := c.MultiGet(t.Context(), 0, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, item := range items {
		if !item.Found || string(item.Key) != string(keys[i]) {
			t.Errorf("item %d: %+v", i, item)
		}
	}
}

func TestMultiGetIsDividedWhenItsAnswerIsTooLarge(t *testing.T) {
	cluster, c := start(t, 1)
	keys := manyKeys(40)
	value := string(make([]byte, 1<<20)) // together over the limit of a message
	for _, k := range keys {
		cluster.Put(string(k), value)
	}
	var requests atomic.Int64
	cluster.Node(0).SetIntercept(onMethod("MultiGet", func(_ context.Context, _ string, r any, next func() (any, error)) (any, error) {
		requests.Add(1)
		if n := len(r.(*pb.MultiGetRequest).GetKeys()); n > 30 {
			return nil, api.Errorf(api.CodeTooLarge, "%d keys", n) // as a node says it
		}
		return next() // and as gRPC does
	}))
	items, err := c.MultiGet(t.Context(), 0, keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		if len(item.Value) != len(value) {
			t.Fatalf("%s has %d bytes", item.Key, len(item.Value))
		}
	}
	if requests.Load() < 5 {
		t.Errorf("%d requests", requests.Load())
	}
}

func TestMultiGetIsBounded(t *testing.T) {
	_, c := start(t, 1)
	if _, err := c.MultiGet(t.Context(), 0, make([][]byte, api.MaxBatchOps+1)); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}
