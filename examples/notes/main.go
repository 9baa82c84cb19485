package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/engine"
)

func main() {
	dir := flag.String("dir", "notes", "directory of the notes")
	address := flag.String("addr", "", "gRPC address of a node: keep the notes in its cluster instead")
	flag.Parse()
	if err := run(context.Background(), *dir, *address, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "notes:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, address string, notes []string, out io.Writer) error {
	kv, closeStore, err := open(dir, address)
	if err != nil {
		return err
	}
	for _, text := range notes {
		if err == nil {
			err = add(ctx, kv, text)
		}
	}
	if err == nil {
		err = list(ctx, kv, out)
	}
	return errors.Join(err, closeStore())
}

// open gives a store in the cluster or in a directory, and what closes it.
func open(dir, address string) (api.KV, func() error, error) {
	if address != "" {
		db, err := client.New(client.Options{Addresses: []string{address}})
		if err != nil {
			return nil, nil, err
		}
		return db, db.Close, nil
	}
	// A note is on disk when add returns: the log is synced for each write.
	db, err := engine.Open(dir, engine.Options{Log: engine.LogAlways})
	if err != nil {
		return nil, nil, err
	}
	kv := client.Embedded(db, client.EmbeddedOptions{})
	return kv, func() error { return errors.Join(kv.Close(), db.Close()) }, nil
}

// add writes a note and counts it, both or neither. The hash tag {notes} keeps the keys together
// on one shard, which a batch in a cluster needs.
func add(ctx context.Context, kv api.KV, text string) error {
	for {
		count, err := kv.Get(ctx, 0, []byte("{notes}count"))
		if err != nil {
			return err
		}
		result, err := kv.Apply(ctx, api.Batch{Ops: []api.Op{
			{
				Kind: api.OpIncrement, Key: []byte("{notes}count"), Delta: 1,
				Condition: api.Condition{Kind: api.ConditionVersion, Version: count.Version},
			},
			{Kind: api.OpPut, Key: fmt.Appendf(nil, "{notes}note/%s", count.Value), Value: []byte(text)},
		}})
		if err != nil || result.Applied {
			return err
		}
		// Somebody else added one meanwhile.
	}
}

func list(ctx context.Context, kv api.KV, out io.Writer) error {
	for item, err := range kv.Scan(ctx, api.PrefixRange([]byte("{notes}note/"))) {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s\n", item.Value); err != nil {
			return err
		}
	}
	return nil
}
