package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
)

// putFlags are put's own flags.
type putFlags struct {
	file      string
	ttl       time.Duration
	ifAbsent  bool
	ifPresent bool
	ifVersion uint64
}

func (a *app) putCommand() *cobra.Command {
	var f putFlags
	cmd := &cobra.Command{
		Use:   "put KEY VALUE | put KEY - | put KEY --file FILE",
		Short: "Write a key",
		Long: "Write a key. The value is an argument, standard input when the argument is -, or a file.\n" +
			"A value that begins with a dash follows --: put KEY -- -1.\n\n" +
			"Exit code 4 when a condition does not hold; then nothing was written.",
		Args: arguments(1, 2, "KEY and VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := f.options(cmd)
			if err != nil {
				return err
			}
			value, err := a.value(cmd.Context(), args[1:], f.file)
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				return a.put(cmd, c, []byte(args[0]), value, options)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.file, "file", "", "read the value from this file")
	flags.DurationVar(&f.ttl, "ttl", 0, "the key expires after this, such as 90s or 24h")
	flags.BoolVar(&f.ifAbsent, "if-absent", false, "only if the key does not exist")
	flags.BoolVar(&f.ifPresent, "if-present", false, "only if the key exists")
	flags.Uint64Var(&f.ifVersion, "if-version", 0, "only if the key has this version; 0 is a key that does not exist")
	return cmd
}

// options turns the flags into a put's.
func (f putFlags) options(cmd *cobra.Command) (client.PutOptions, error) {
	var o client.PutOptions
	if cmd.Flags().Changed("ttl") {
		if f.ttl < time.Millisecond {
			return o, usagef("--ttl is %s, want 1ms or more", f.ttl)
		}
		o.Expiry = client.ExpireAfter(f.ttl)
	}
	var conditions []api.Condition
	if f.ifAbsent {
		conditions = append(conditions, api.Condition{Kind: api.ConditionAbsent})
	}
	if f.ifPresent {
		conditions = append(conditions, api.Condition{Kind: api.ConditionPresent})
	}
	if cmd.Flags().Changed("if-version") {
		conditions = append(conditions, api.Condition{Kind: api.ConditionVersion, Version: api.Version(f.ifVersion)})
	}
	switch len(conditions) {
	case 0:
	case 1:
		o.Condition = conditions[0]
	default:
		return o, usagef("--if-absent, --if-present and --if-version exclude each other")
	}
	return o, nil
}

// value finds the value in the one place that the command line names.
func (a *app) value(ctx context.Context, args []string, file string) ([]byte, error) {
	switch {
	case len(args) == 0 && file == "":
		return nil, usagef("no value, want VALUE, - or --file")
	case len(args) == 1 && file != "":
		return nil, usagef("two values, VALUE and --file")
	case file != "":
		return readFile(ctx, file)
	case args[0] == "-":
		return readValue(ctx, "standard input", a.stdin)
	default:
		return []byte(args[0]), nil
	}
}

func readFile(ctx context.Context, name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("--file: %w", err)
	}
	value, err := readValue(ctx, name, f)
	_ = f.Close() // nothing was written to it
	return value, err
}

// readValue reads no more than the cluster takes, so that an endless input is refused.
func readValue(ctx context.Context, name string, r io.Reader) ([]byte, error) {
	value, err := io.ReadAll(io.LimitReader(&interruptible{ctx: ctx, from: r}, api.MaxValueBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(value) > api.MaxValueBytes {
		return nil, api.Errorf(api.CodeTooLarge, "read %s: the value has more than %d bytes, which is the limit", name, api.MaxValueBytes)
	}
	return value, nil
}

func (a *app) put(cmd *cobra.Command, c *client.Client, key, value []byte, o client.PutOptions) error {
	result, err := c.Put(cmd.Context(), 0, key, value, o)
	if err != nil {
		return err
	}
	if a.json() {
		err = a.printJSON(struct {
			Applied bool   `json:"applied"`
			Version string `json:"version,omitempty"`
		}{result.Applied, writtenVersion(result)})
	} else if result.Applied {
		err = a.printf("OK version %d\n", result.Version)
	}
	if err == nil && !result.Applied {
		return errCondition
	}
	return err
}

func writtenVersion(r api.Result) string {
	if !r.Applied {
		return ""
	}
	return versionText(r.Version)
}
