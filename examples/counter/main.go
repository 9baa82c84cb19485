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
	steps := flag.Int("steps", 100, "how far to count")
	flag.Parse()
	db, err := client.New(client.Options{Addresses: []string{*address}})
	if err == nil {
		err = errors.Join(run(context.Background(), db, *steps, time.Second, os.Stdout), db.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "counter:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, db *client.Client, steps int, patience time.Duration, out io.Writer) error {
	before, err := db.Increment(ctx, 0, []byte("counter"), 0)
	if err != nil {
		return err
	}
	calls, sum := 0, before
	for range steps {
		if sum, err = add(ctx, db, patience, &calls); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "%d steps in %d calls: %d → %d\n", steps, calls, before, sum)
	return err
}

// add counts one step. While its outcome is unknown it calls again under the same request id,
// under which the step happens at most once and the answer is always that of the first time.
func add(ctx context.Context, db *client.Client, patience time.Duration, calls *int) (int64, error) {
	id, release := db.NewRequest()
	defer release()
	batch := api.Batch{Request: id, Ops: []api.Op{{Kind: api.OpIncrement, Key: []byte("counter"), Delta: 1}}}
	for {
		call, cancel := context.WithTimeout(ctx, patience)
		result, err := db.Apply(call, batch)
		cancel()
		*calls++
		switch {
		case err == nil:
			return result.Ops[0].Number, nil
		case ctx.Err() != nil:
			return 0, err // nobody waits any more
		case errors.Is(err, api.ErrUnknownOutcome), api.Row(api.CodeOf(err)).Retry:
			continue
		default:
			return 0, err // it will not get better
		}
	}
}
