package main

import (
	"context"
	"io"
	"os"
	"strconv"
	"strings"
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
		Long: "Write a key. The value is an argument, standard input when the argument is -, or a file. It has up\n" +
			"to 64 MiB, of which a few are in memory; a second for each MiB is added to --timeout.\n" +
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
			defer value.close()
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

// input is where a value comes from.
type input struct {
	io.Reader
	close func()
}

// value finds the value in the one place that the command line names.
func (a *app) value(ctx context.Context, args []string, file string) (input, error) {
	switch {
	case len(args) == 0 && file == "":
		return input{}, usagef("no value, want VALUE, - or --file")
	case len(args) == 1 && file != "":
		return input{}, usagef("two values, VALUE and --file")
	case file != "":
		return openFile(ctx, file)
	case args[0] == "-":
		return input{&interruptible{ctx: ctx, from: a.stdin}, func() {}}, nil
	default:
		return input{strings.NewReader(args[0]), func() {}}, nil
	}
}

// openFile opens a file. One that is read from its beginning again gives the same, so that a put can be
// repeated; a pipe or a device can be silent for ever.
func openFile(ctx context.Context, name string) (input, error) {
	f, err := os.Open(name)
	if err != nil {
		return input{}, usagef("--file: %w", err)
	}
	in := input{f, func() { _ = f.Close() }} // nothing was written to it
	info, err := f.Stat()
	switch {
	case err != nil:
		in.close()
		return input{}, usagef("--file: %w", err)
	case info.IsDir():
		in.close()
		return input{}, usagef("--file: %s is a folder", name)
	case !info.Mode().IsRegular():
		in.Reader = &interruptible{ctx: ctx, from: f}
	}
	return in, nil
}

func (a *app) put(cmd *cobra.Command, c *client.Client, key []byte, value io.Reader, o client.PutOptions) error {
	p := a.startProgress("")
	from := &countingReader{Reader: value, to: p}
	result, err := c.PutFrom(cmd.Context(), 0, key, from, o)
	p.end()
	if err != nil && from.failed != nil && api.CodeOf(err) == api.CodeInvalid {
		err = from.failed
	}
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
