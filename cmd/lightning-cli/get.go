package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/client"
)

func (a *app) getCommand() *cobra.Command {
	var stale time.Duration
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Long: "Print the value of a key, byte for byte; on a terminal a line feed follows. With --output json\n" +
			"version and expiry are there, too.\n\n" +
			"Exit code 3 when there is no such key.",
		Args: arguments(1, 1, "KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error { return a.get(cmd, c, []byte(args[0]), stale) })
		},
	}
	addStale(cmd, &stale)
	return cmd
}

// addStale adds the flag of reads that need not be linearizable.
func addStale(cmd *cobra.Command, stale *time.Duration) {
	cmd.Flags().DurationVar(stale, "stale", 0, "allow an answer that is up to so old, such as 500ms, from any replica; 0 is linearizable")
}

func (a *app) get(cmd *cobra.Command, c *client.Client, key []byte, stale time.Duration) error {
	item, err := c.Stale(stale).Get(cmd.Context(), 0, key)
	if err != nil {
		return err
	}
	if a.json() {
		if err := a.printJSON(a.foundOf(item)); err != nil {
			return err
		}
	}
	if !item.Found {
		return fmt.Errorf("key %q: %w", escape(key), errNotFound)
	}
	if a.json() {
		return nil
	}
	return a.printValue(item.Value)
}

// printValue keeps Y2.
func (a *app) printValue(value []byte) error {
	if _, err := a.stdout.Write(value); err != nil {
		return fmt.Errorf("write the value: %w", err)
	}
	if a.terminal {
		return a.printf("\n")
	}
	return nil
}
