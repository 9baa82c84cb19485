package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
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
