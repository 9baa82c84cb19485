package main

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

func TestEveryStepCountsOnceAlthoughRepliesAreLost(t *testing.T) {
	cluster := fakecluster.New(1)
	defer cluster.Close()
	var writes atomic.Int64
	cluster.Node(0).SetIntercept(func(ctx context.Context, method string, _ any, next func() (any, error)) (any, error) {
		if method == "Batch" && writes.Add(1)%5 == 3 {
			_, _ = next() // executed, and the reply is lost
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return next()
	})
	db, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var out strings.Builder
	if err := run(t.Context(), db, 20, 100*time.Millisecond, &out); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	if !strings.HasSuffix(out.String(), ": 0 → 20\n") {
		t.Errorf("got %s", out.String())
	}
}
