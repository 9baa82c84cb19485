package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
)

// scanFlags are scan's own flags.
type scanFlags struct {
	prefix, start, end string
	limit              uint64
	reverse, keysOnly  bool
}

func (a *app) scanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "List keys and values in order",
		Long: "List keys and values in the order of the keys' bytes, one on a line, with a tab between.\n" +
			"Backslashes, what cannot be printed and what is not UTF-8 are shown as \\\\, \\n, \\x00 and so on.\n\n" +
			"Each page of the list is read at its own time: the list as a whole is not one snapshot.",
		Args: arguments(0, 0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := f.selected()
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error { return a.scan(cmd, c, r) })
		},
	}
	flags := cmd.Flags()
	f.registerRange(flags)
	flags.BoolVar(&f.reverse, "reverse", false, "from the last to the first")
	flags.BoolVar(&f.keysOnly, "keys-only", false, "without values")
	return cmd
}

// registerRange adds the flags that say which keys are meant.
func (f *scanFlags) registerRange(flags *pflag.FlagSet) {
	flags.StringVar(&f.prefix, "prefix", "", "keys that begin with this")
	flags.StringVar(&f.start, "start", "", "this key and what follows it")
	flags.StringVar(&f.end, "end", "", "what comes before this key")
	flags.Uint64Var(&f.limit, "limit", 0, "no more than this many keys; 0 is all")
}

func (f scanFlags) selected() (api.Range, error) {
	r := api.Range{Start: []byte(f.start), End: []byte(f.end)}
	if f.prefix != "" {
		if f.start != "" || f.end != "" {
			return r, usagef("--prefix excludes --start and --end")
		}
		r = api.PrefixRange([]byte(f.prefix))
	}
	r.Limit, r.Reverse, r.KeysOnly = f.limit, f.reverse, f.keysOnly
	return r, nil
}

func (a *app) scan(cmd *cobra.Command, c *client.Client, r api.Range) error {
	for item, err := range c.Scan(cmd.Context(), r) {
		if err != nil {
			return err
		}
		if err := a.printItem(item, r.KeysOnly); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printItem(item api.Item, keysOnly bool) error {
	switch {
	case a.json():
		return a.printJSON(itemOf(item, keysOnly))
	case keysOnly:
		return a.printf("%s\n", escape(item.Key))
	default:
		return a.printf("%s\t%s\n", escape(item.Key), escape(item.Value))
	}
}
