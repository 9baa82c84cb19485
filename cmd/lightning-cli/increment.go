package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/client"
)

func (a *app) incrementCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "incr KEY [DELTA]",
		Short: "Add to an integer and print the sum",
		Long: "Add DELTA, 1 by default, to a decimal 64-bit integer, and print the sum. A key that does not\n" +
			"exist counts as 0. A negative DELTA follows --: incr KEY -- -5.\n\n" +
			"Exit code 4 when the value is not an integer or the sum does not fit.",
		Args: arguments(1, 2, "KEY and at most DELTA"),
		RunE: func(cmd *cobra.Command, args []string) error {
			delta := int64(1)
			if len(args) == 2 {
				var err error
				if delta, err = strconv.ParseInt(args[1], 10, 64); err != nil {
					return usagef("DELTA %q is not a decimal 64-bit integer", args[1])
				}
			}
			return a.withClient(func(c *client.Client) error { return a.increment(cmd, c, []byte(args[0]), delta) })
		},
	}
}

func (a *app) increment(cmd *cobra.Command, c *client.Client, key []byte, delta int64) error {
	sum, err := c.Increment(cmd.Context(), 0, key, delta)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(struct {
			Number int64 `json:"number"`
		}{sum})
	}
	return a.printf("%d\n", sum)
}
