package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
)

func (a *app) mgetCommand() *cobra.Command {
	var stale time.Duration
	cmd := &cobra.Command{
		Use:   "mget KEY...",
		Short: "Print the values of several keys",
		Long: "Print the keys that exist and their values, one on a line as scan does, in the order of the\n" +
			"arguments. Each key is read for itself: together they are not one snapshot.\n\n" +
			"Exit code 3 when one of them does not exist; the others are printed.",
		Args: arguments(1, api.MaxBatchOps, "one KEY or more"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys := make([][]byte, len(args))
			for i, arg := range args {
				keys[i] = []byte(arg)
			}
			return a.withClient(func(c *client.Client) error {
				items, err := c.Stale(stale).MultiGet(cmd.Context(), 0, keys)
				if err != nil {
					return err
				}
				return a.printItems(items)
			})
		},
	}
	addStale(cmd, &stale)
	return cmd
}

func (a *app) printItems(items []api.Item) error {
	missing := 0
	for _, item := range items {
		err := error(nil)
		switch {
		case a.json():
			err = a.printJSON(a.foundOf(item))
		case item.Found:
			err = a.printItem(item, false)
		}
		if err != nil {
			return err
		}
		if !item.Found {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d keys: %w", missing, len(items), errNotFound)
	}
	return nil
}
