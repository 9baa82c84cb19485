package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/client"
)

func (a *app) getCommand() *cobra.Command {
	var stale time.Duration
	var file string
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Long: "Print the value of a key, byte for byte; on a terminal a line feed follows. With --output json\n" +
			"version and expiry are there, too. With --file the value goes into a file, which appears under its\n" +
			"name only when it is complete and on disk; without it only the exit code tells that.\n\n" +
			"Exit code 3 when there is no such key.",
		Args: arguments(1, 1, "KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				switch {
				case file != "":
					return a.getFile(cmd, c, []byte(args[0]), stale, file)
				case a.json():
					return a.getJSON(cmd, c, []byte(args[0]), stale)
				}
				return a.get(cmd, c, []byte(args[0]), stale)
			})
		},
	}
	addStale(cmd, &stale)
	cmd.Flags().StringVar(&file, "file", "", "write the value into this file")
	return cmd
}

// addStale adds the flag of reads that need not be linearizable.
func addStale(cmd *cobra.Command, stale *time.Duration) {
	cmd.Flags().DurationVar(stale, "stale", 0, "allow an answer that is up to so old, such as 500ms, from any replica; 0 is linearizable")
}

// get keeps Y2.
func (a *app) get(cmd *cobra.Command, c *client.Client, key []byte, stale time.Duration) error {
	if err := a.getTo(cmd, c, key, stale, a.stdout, !a.terminal); err != nil {
		return err
	}
	if a.terminal {
		return a.printf("\n")
	}
	return nil
}

func (a *app) getFile(cmd *cobra.Command, c *client.Client, key []byte, stale time.Duration, file string) error {
	return writeWhole(file, func(w io.Writer) error { return a.getTo(cmd, c, key, stale, w, true) })
}

// getTo writes the value and, if that takes long, how far it is. Progress would mix with a value on a terminal.
func (a *app) getTo(cmd *cobra.Command, c *client.Client, key []byte, stale time.Duration, w io.Writer, show bool) error {
	p := a.newProgress("")
	if show {
		p.start()
	}
	to := &countingWriter{Writer: w, to: p}
	item, err := c.Stale(stale).GetTo(cmd.Context(), 0, key, to)
	p.end()
	switch {
	case err != nil && to.failed != nil:
		return to.failed
	case err == nil && !item.Found:
		return fmt.Errorf("key %q: %w", escape(key), errNotFound)
	}
	return err
}

func (a *app) getJSON(cmd *cobra.Command, c *client.Client, key []byte, stale time.Duration) error {
	item, err := c.Stale(stale).Get(cmd.Context(), 0, key)
	if err != nil {
		return err
	}
	if err := a.printJSON(a.foundOf(item)); err != nil {
		return err
	}
	if !item.Found {
		return fmt.Errorf("key %q: %w", escape(key), errNotFound)
	}
	return nil
}
