package main

import (
	"context"
	"errors"
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
	bound := flag.Duration("bound", time.Second, "how old an answer may be")
	reads := flag.Int("reads", 1000, "how many reads of each kind")
	flag.Parse()
	db, err := client.New(client.Options{Addresses: []string{*address}})
	if err == nil {
		err = errors.Join(run(context.Background(), db, *bound, *reads, os.Stdout), db.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stale:", err)
		os.Exit(1)
	}
}

// reader is what Client and StaleReader have in common.
type reader interface {
	Get(ctx context.Context, ns api.Namespace, key []byte) (api.Item, error)
}

func run(ctx context.Context, db *client.Client, bound time.Duration, reads int, out io.Writer) error {
	key := []byte("price")
	if _, err := db.Put(ctx, 0, key, []byte("42"), client.PutOptions{}); err != nil {
		return err
	}
	for _, kind := range []struct {
		name string
		from reader
	}{
		{"as it is", db},
		{fmt.Sprint("at most ", bound, " old"), db.Stale(bound)},
	} {
		begun := time.Now()
		var item api.Item
		for range reads {
			var err error
			if item, err = kind.from.Get(ctx, 0, key); err != nil {
				return err
			}
		}
		each := time.Since(begun) / time.Duration(max(reads, 1))
		// A stale read may not have seen the put yet: then the key is as it was before.
		if _, err := fmt.Fprintf(out, "%s: %s = %q, %v a read\n", kind.name, key, item.Value, each); err != nil {
			return err
		}
	}
	return nil
}
