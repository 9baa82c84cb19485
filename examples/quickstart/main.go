package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
)

func main() {
	address := flag.String("addr", "127.0.0.1:8379", "gRPC address of any node")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "quickstart: unexpected argument %q; the address follows -addr\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(client.Options{Addresses: []string{*address}}, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(o client.Options, out io.Writer) error {
	c, err := client.New(o)
	if err != nil {
		return err
	}
	// The context's deadline bounds every call, with all its retries.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err = tour(ctx, c, out)
	if closeErr := c.Close(); err == nil {
		err = closeErr
	}
	return err
}

func tour(ctx context.Context, c *client.Client, out io.Writer) error {
	// Put: when it returns, a majority of the key's shard has the write on disk.
	for key, value := range map[string]string{"planet:3": "Earth", "planet:1": "Mercury", "planet:2": "Venus"} {
		if _, err := c.Put(ctx, 0, []byte(key), []byte(value), client.PutOptions{}); err != nil {
			return err
		}
	}
	// Get: it sees every write that was acknowledged before it began, whoever made it.
	item, err := c.Get(ctx, 0, []byte("planet:3"))
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "get    %s = %s\n", item.Key, item.Value)

	// Scan: in the order of keys, over all shards.
	for item, err := range c.Scan(ctx, api.PrefixRange([]byte("planet:"))) {
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "scan   %s = %s\n", item.Key, item.Value)
	}

	// A write under a condition tells whether it was made.
	result, err := c.Put(ctx, 0, []byte("planet:3"), []byte("Terra"), client.PutOptions{
		Condition: api.Condition{Kind: api.ConditionVersion, Version: item.Version},
		Expiry:    client.ExpireAfter(time.Hour),
	})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "put    planet:3 if unchanged: %t\n", result.Applied)

	// Increment: a lost reply is asked for again under the same request id, so it counts once.
	visits, err := c.Increment(ctx, 0, []byte("visits"), 1)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "incr   visits = %d\n", visits)
	return nil
}
