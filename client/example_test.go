package client_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

// The examples talk to a cluster inside the test. A program leaves Dialer out and names nodes:
//
//	client.New(client.Options{Addresses: []string{"127.0.0.1:8379"}})

func Example() {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	ctx := context.Background()
	if _, err := c.Put(ctx, 0, []byte("greeting"), []byte("hello"), client.PutOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	item, err := c.Get(ctx, 0, []byte("greeting"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s: %s\n", item.Key, item.Value)
	// Output: greeting: hello
}

func ExampleClient_Scan() {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	ctx := context.Background()
	for _, key := range []string{"user:2", "user:1", "visit:1"} {
		if _, err := c.Put(ctx, 0, []byte(key), nil, client.PutOptions{}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for item, err := range c.Scan(ctx, api.PrefixRange([]byte("user:"))) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", item.Key)
	}
	// Output:
	// user:1
	// user:2
}

func ExampleClient_Put_ifAbsent() {
	cluster := fakecluster.New(1)
	defer cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	lock := client.PutOptions{
		Condition: api.Condition{Kind: api.ConditionAbsent},
		Expiry:    client.ExpireAfter(30 * time.Second),
	}
	for _, owner := range []string{"first", "second"} {
		result, err := c.Put(context.Background(), 0, []byte("lock"), []byte(owner), lock)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(owner, "holds the lock:", result.Applied)
	}
	// Output:
	// first holds the lock: true
	// second holds the lock: false
}

// A write whose outcome stays unknown is retried under its own id, and counts once.
func ExampleClient_PutFrom() {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	db, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()

	// Any reader will do. One that can go back, as a file can, is sent again when a node fails.
	film := strings.NewReader(strings.Repeat("frame", 1<<20))
	if _, err := db.PutFrom(context.Background(), 0, []byte("film"), film, client.PutOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	sum := sha256.New()
	item, err := db.GetTo(context.Background(), 0, []byte("film"), sum)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%t %x\n", item.Found, sum.Sum(nil)[:4])
	// Output: true 5b86f312
}

func ExampleClient_NewRequest() {
	cluster := fakecluster.New(1)
	defer cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	id, release := c.NewRequest()
	defer release()
	batch := api.Batch{Request: id, Ops: []api.Op{{Kind: api.OpIncrement, Key: []byte("orders"), Delta: 1}}}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		result, err := c.Apply(ctx, batch)
		cancel()
		if errors.Is(err, api.ErrUnknownOutcome) {
			continue // at most once under one id
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("orders:", result.Ops[0].Number)
		return
	}
	// Output: orders: 1
}

// Several operations on keys of one shard are one write, under conditions.
func ExampleClient_Apply() {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	// The hash tag {ada} puts both keys on one shard.
	order := api.Batch{Ops: []api.Op{
		{Kind: api.OpPut, Key: []byte("{ada}order:1"), Value: []byte("tea"), Condition: api.Condition{Kind: api.ConditionAbsent}},
		{Kind: api.OpIncrement, Key: []byte("{ada}orders"), Delta: 1},
	}}
	for range 2 {
		result, err := c.Apply(context.Background(), order)
		if err != nil {
			fmt.Println(err)
			return
		}
		if result.Applied {
			fmt.Println("order", result.Ops[1].Number, "taken")
		} else {
			fmt.Println("operation", result.FailedOp, "found its condition wrong; nothing was written")
		}
	}
	// Output:
	// order 1 taken
	// operation 0 found its condition wrong; nothing was written
}

func ExampleClient_MultiGet() {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	cluster.Put("a", "1")
	cluster.Put("c", "3")
	items, err := c.MultiGet(context.Background(), 0, [][]byte{[]byte("a"), []byte("b"), []byte("c")})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, item := range items {
		fmt.Printf("%s: %t %q\n", item.Key, item.Found, item.Value)
	}
	// Output:
	// a: true "1"
	// b: false ""
	// c: true "3"
}

// An answer that may be a second old comes from any replica.
func ExampleClient_Stale() {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	cluster.Put("weather", "sunny")
	item, err := c.Stale(time.Second).Get(context.Background(), 0, []byte("weather"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", item.Value)
	// Output: sunny
}

// Read, change, and write if nobody was faster.
func ExampleCompareAndSwap() {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	ctx, key := context.Background(), []byte("list")
	for {
		item, err := c.Get(ctx, 0, key)
		if err != nil {
			fmt.Println(err)
			return
		}
		version, err := client.CompareAndSwap(ctx, c, 0, key, append(item.Value, "x"...), item.Version)
		if err != nil {
			fmt.Println(err)
			return
		}
		if version != 0 {
			break
		}
	}
	item, _ := c.Get(ctx, 0, key)
	fmt.Printf("%s\n", item.Value)
	// Output: x
}

// The same interface without a cluster.
func ExampleEmbedded() {
	dir, err := os.MkdirTemp("", "lightning-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	db, err := engine.Open(dir, engine.Options{Log: engine.LogNever}) // FlushWrites syncs it, once for all who wait
	if err != nil {
		fmt.Println(err)
		return
	}
	kv := client.Embedded(db, client.EmbeddedOptions{FlushWrites: true})
	sum, err := client.Increment(context.Background(), kv, 0, []byte("visits"), 1)
	fmt.Println(sum, err)
	fmt.Println(kv.Close(), db.Close())
	// Output:
	// 1 <nil>
	// <nil> <nil>
}

// Metrics: what came of calls, and how long they took.
func ExampleOptions_observe() {
	cluster := fakecluster.New(1)
	defer cluster.Close()
	calls := make(map[string]int) // a program uses counters that are safe for concurrent use
	c, err := client.New(client.Options{
		Addresses: cluster.Addresses(), Dialer: cluster.Dial,
		Observe: func(e client.Event) { calls[e.Operation+" "+string(e.Code)]++ },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	cluster.Put("word", "w")
	_, _ = c.Get(context.Background(), 0, []byte("word"))
	_, _ = c.Increment(context.Background(), 0, []byte("word"), 1)
	fmt.Println(calls)
	// Output: map[apply NOT_INTEGER:1 get :1]
}
