package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/client"
)

func (a *app) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Long: "Print the value of a key, byte for byte; on a terminal a line feed follows.\n\n" +
			"Exit code 3 when there is no such key.",
		Args: arguments(1, 1, "KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error { return a.get(cmd, c, []byte(args[0])) })
		},
	}
}

func (a *app) get(cmd *cobra.Command, c *client.Client, key []byte) error {
	item, err := c.Get(cmd.Context(), 0, key)
	if err != nil {
		return err
	}
	if a.json() {
		out := itemOf(item, false)
		out.Found = &item.Found
		if err := a.printJSON(out); err != nil {
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
