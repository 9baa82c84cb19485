package client

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/vfs"
)

// steppingClock is a millisecond later whenever somebody looks.
type steppingClock struct {
	clock.Real
	millis atomic.Int64
}

func (c *steppingClock) Now() time.Time { return time.UnixMilli(c.millis.Add(1)) }

// K5. A read that finds a key expired while a write is under way that found it there.
func TestAReadDoesNotOvertakeTheTimeOfAWrite(t *testing.T) {
	c := &steppingClock{}
	c.millis.Store(time.Now().UnixMilli())
	db, err := engine.Open("/db", engine.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	kv := Embedded(db, EmbeddedOptions{Clock: c})
	defer kv.Close()
	ctx, k := context.Background(), []byte("k")
	persist := api.Batch{Ops: []api.Op{{Kind: api.OpExpire, Key: k}}}
	read := func(n int) (bool, error) {
		if n%2 == 0 {
			item, err := kv.Get(ctx, 0, k)
			return item.Found, err
		}
		items, err := kv.MultiGet(ctx, 0, [][]byte{k})
		return err == nil && items[0].Found, err
	}
	for n := range 5000 {
		soon := api.Expiry{Mode: api.ExpiryAt, Millis: uint64(c.millis.Load()) + 2 + uint64(n%3)}
		if _, err := Put(ctx, kv, 0, k, []byte("v"), PutOptions{Expiry: soon}); err != nil {
			t.Fatal(err)
		}
		var found bool
		var readErr error
		var reader sync.WaitGroup
		reader.Go(func() { found, readErr = read(n) })
		result, err := kv.Apply(ctx, persist)
		reader.Wait()
		if err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
		if result.Ops[0].Existed && !found {
			t.Fatalf("round %d: a read found the key expired, and a write at the same time made it stay", n)
		}
	}
}
