package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
)

func (a *app) casCommand() *cobra.Command {
	var f putFlags
	cmd := &cobra.Command{
		Use:   "cas KEY VERSION VALUE | cas KEY VERSION - | cas KEY VERSION --file FILE",
		Short: "Write a key if its version is still VERSION",
		Long: "Write a key if its version is still VERSION, which get --output json prints; 0 is a key that does\n" +
			"not exist. It is put --if-version by another name. A value that begins with a dash follows --.\n\n" +
			"Exit code 4 when somebody else was faster; then nothing was written.",
		Args: arguments(2, 3, "KEY, VERSION and VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil {
				return usagef("VERSION %q is not a number", args[1])
			}
			options, err := f.options(cmd)
			if err != nil {
				return err
			}
			options.Condition = api.Condition{Kind: api.ConditionVersion, Version: api.Version(version)}
			value, err := a.value(cmd.Context(), args[2:], f.file)
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error { return a.put(cmd, c, []byte(args[0]), value, options) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.file, "file", "", "read the value from this file")
	flags.DurationVar(&f.ttl, "ttl", 0, "the key expires after this, such as 90s or 24h")
	return cmd
}
