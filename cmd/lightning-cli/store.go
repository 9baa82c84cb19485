package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	recovering "github.com/lightning-db/lightning/cmd/lightning-cli/recover"
	"github.com/lightning-db/lightning/cmd/lightning-cli/store"
)

// storeCommand is the group of verbs on a directory.
func (a *app) storeCommand() *cobra.Command {
	return store.Command(store.Env{
		JSON: a.json, Printf: a.printf, PrintJSON: a.printJSON, Raw: a.printRaw, Escape: escape, Usage: usagef,
		Value: func(ctx context.Context, args []string, file string) (io.Reader, func(), error) {
			in, err := a.value(ctx, args, file)
			return in.Reader, in.close, err
		},
		WriteFile: writeWhole,
		Progress: func(unit string) (func(items, bytes int), func()) {
			p := a.startProgress(unit)
			return p.count, p.end
		},
		Arguments: arguments, NotFound: errNotFound,
	})
}

// recoverCommand is the group of verbs on the data directories of a cluster that has lost a majority.
func (a *app) recoverCommand() *cobra.Command {
	return recovering.Command(recovering.Env{Printf: a.printf, WriteFile: writeWhole, Usage: usagef, Arguments: arguments})
}

// printRaw keeps Y2.
func (a *app) printRaw(b []byte) error {
	if _, err := a.stdout.Write(b); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	if a.terminal {
		return a.printf("\n")
	}
	return nil
}
