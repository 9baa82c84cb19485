package main

import (
	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/client"
)

func (a *app) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete KEY",
		Short: "Delete a key",
		Long:  "Delete a key, and say whether it was there. That it was not is no error.",
		Args:  arguments(1, 1, "KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error { return a.delete(cmd, c, []byte(args[0])) })
		},
	}
}

func (a *app) delete(cmd *cobra.Command, c *client.Client, key []byte) error {
	existed, err := c.Delete(cmd.Context(), 0, key)
	switch {
	case err != nil:
		return err
	case a.json():
		return a.printJSON(struct {
			Existed bool `json:"existed"`
		}{existed})
	case existed:
		return a.printf("deleted\n")
	default:
		return a.printf("was not there\n")
	}
}
