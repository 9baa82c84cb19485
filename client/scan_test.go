package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
)

func keysOf(ctx context.Context, c *client.Client, r api.Range) (string, error) {
	var keys []string
	for item, err := range c.Scan(ctx, r) {
		if err != nil {
			return strings.Join(keys, " "), err
		}
		keys = append(keys, string(item.Key))
	}
	return strings.Join(keys, " "), nil
}

func TestScanYieldsTheRangeInOrder(t *testing.T) {
	cluster, c := start(t, 2)
	for _, k := range []string{"a", "b", "b1", "b2", "b3", "b4", "c"} {
		cluster.Put(k, "value of "+k)
	}
	reversed := api.PrefixRange([]byte("b"))
	reversed.Reverse = true
	for _, test := range []struct {
		r    api.Range
		want string
	}{
		{api.Range{}, "a b b1 b2 b3 b4 c"},
		{api.PrefixRange([]byte("b")), "b b1 b2 b3 b4"},
		{reversed, "b4 b3 b2 b1 b"},
		{api.Range{Start: []byte("b2"), Limit: 2}, "b2 b3"},
		{api.Range{Limit: 3}, "a b b1"},
		{api.Range{Limit: 4, Reverse: true}, "c b4 b3 b2"},
		{api.Range{Start: []byte("x")}, ""},
	} {
		if got, err := keysOf(t.Context(), c, test.r); err != nil || got != test.want {
			t.Errorf("%+v: %q, %v; want %q", test.r, got, err, test.want)
		}
	}
	for item, err := range c.Scan(t.Context(), api.Range{KeysOnly: true}) {
		if err != nil || item.Value != nil || !item.Found {
			t.Errorf("keys only: %+v, %v", item, err)
		}
	}
}

func TestAScanThatIsCutGoesOnAfterTheLastKey(t *testing.T) {
	for _, reverse := range []bool{false, true} {
		cluster, c := start(t, 3)
		var want []string
		for i := range 30 {
			want = append(want, fmt.Sprintf("k%02d", i))
			cluster.Put(want[i], "v")
		}
		if reverse {
			slices.Reverse(want)
		}
		var got []string
		for item, err := range c.Scan(t.Context(), api.Range{Reverse: reverse, Limit: 25}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(item.Key))
			clear(item.Key) // the consumer owns it
			if len(got)%4 == 0 {
				for i := range 3 {
					cluster.Node(i).Cut()
				}
			}
		}
		if !slices.Equal(got, want[:25]) { // K4
			t.Errorf("reverse %t: got %v", reverse, got)
		}
	}
}

func TestAScanLeavesAStalledNode(t *testing.T) {
	cluster, c := start(t, 2, withAttemptTimeout(50*time.Millisecond))
	cluster.Put("k", "v")
	var stalled atomic.Bool
	for i := range 2 {
		cluster.Node(i).SetIntercept(func(ctx context.Context, method string, _ any, next func() (any, error)) (any, error) {
			if method == "Scan" && !stalled.Swap(true) {
				<-ctx.Done()
			}
			return next()
		})
	}
	if got, err := keysOf(t.Context(), c, api.Range{}); err != nil || got != "k" || !stalled.Load() {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAScanEndsWithItsContext(t *testing.T) {
	cluster, c := start(t, 1)
	for i := range 30 {
		cluster.Put(fmt.Sprintf("k%02d", i), "v")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range c.Scan(ctx, api.Range{}) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("got %v", last)
	}
}

func TestAScanMayBeLeftAndTheClientClosedInside(t *testing.T) {
	cluster, c := start(t, 1)
	for i := range 30 {
		cluster.Put(fmt.Sprintf("k%02d", i), "v")
	}
	for range c.Scan(t.Context(), api.Range{}) {
		break
	}
	var last error
	for _, err := range c.Scan(t.Context(), api.Range{}) {
		_ = c.Close()
		last = err
	}
	if !errors.Is(last, api.ErrShuttingDown) {
		t.Errorf("got %v", last)
	}
}
