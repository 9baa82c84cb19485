package store

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/engine/inspect"
)

// Env is what the verbs need of the program around them. All of it is set.
type Env struct {
	JSON      func() bool
	Printf    func(format string, args ...any) error
	PrintJSON func(v any) error
	// Raw writes bytes to stdout as they are, with a line feed on a terminal.
	Raw func(b []byte) error
	// Escape makes bytes fit on a line.
	Escape func(b []byte) string
	// Usage makes the error of a wrong command line.
	Usage func(format string, args ...any) error
	// Value finds the value of a put: an argument, standard input, or a file.
	Value func(ctx context.Context, args []string, file string) (io.Reader, func(), error)
	// WriteFile makes a file, whole or not at all.
	WriteFile func(name string, write func(io.Writer) error) error
	// Progress says on stderr how far a long verb is, until end is called.
	Progress func(unit string) (count func(items, bytes int), end func())
	// Arguments checks how many there are.
	Arguments func(least, most int, names string) cobra.PositionalArgs
	NotFound  error
}

// ErrReplica is returned by verbs that write, for a directory that is not an embedded store's.
var ErrReplica = errors.New("the directory belongs to a node or holds a replica: what is changed by hand differs from its peers. " +
	"Write through the node; a damaged replica is rebuilt from its peers")

// ErrUnhealthy is returned by health when something needs attention.
var ErrUnhealthy = errors.New("the store needs attention")

// verbs are the commands with what they share.
type verbs struct {
	Env
	base64  bool
	profile string
}

// Command makes the group.
func Command(env Env) *cobra.Command {
	v := &verbs{Env: env}
	group := &cobra.Command{
		Use:   "store",
		Short: "Look into, write to and repair the directory of an embedded store",
		Long: "Look into, write to and repair the directory of an embedded store, as package engine makes it in a Go program.\n\n" +
			"No server is asked, and the store must not be open elsewhere. Keys and values are those of the engine: a store behind\n" +
			"client.Embedded, like a node, has rows of its own in them. get, scan, stats, health, check and dump change nothing;\n" +
			"put, delete, compact and repair refuse the directories of a node, whose replicas would differ.",
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return env.Usage("no verb given")
			}
			return env.Usage("unknown verb %q", args[0])
		},
	}
	group.PersistentFlags().BoolVar(&v.base64, "base64", false, "keys on the command line, and a VALUE there, are base64")
	group.AddCommand(v.create(), v.get(), v.put(), v.delete(), v.scan(), v.stats(), v.health(), v.check(), v.repair(),
		v.compact(), v.clearCache(), v.bench(), v.dump())
	return group
}

// bytes reads a key or a value of the command line.
func (v *verbs) bytes(text string) ([]byte, error) {
	if !v.base64 {
		return []byte(text), nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, v.Usage("%q is not base64: %w", text, err)
	}
	return b, nil
}

// read opens a store for a verb that changes nothing.
func (v *verbs) read(dir string, use func(*engine.DB) error) error {
	o := as(dir, engine.Options{ReadOnly: true})
	return with(dir, o, use)
}

// write opens a store that exists for a verb that changes it. Versions are kept if they were.
func (v *verbs) write(dir string, use func(*engine.DB) error) error {
	if err := writable(dir); err != nil {
		return err
	}
	return with(dir, as(dir, engine.Balanced.Options()), use)
}

// as makes options those with which the store was last written, where that matters.
func as(dir string, o engine.Options) engine.Options {
	if s, err := inspect.Manifest(dir); err == nil && s != nil {
		o.RetainVersions, o.Families = s.Retained(), s.Families
	}
	return o
}

// retained tells whether the store keeps versions. Where that cannot be read, Open will say why.
func retained(dir string) bool {
	s, err := inspect.Manifest(dir)
	return err == nil && s != nil && s.Retained()
}

func with(dir string, o engine.Options, use func(*engine.DB) error) error {
	db, err := engine.Open(dir, o)
	if err != nil {
		return err
	}
	err = use(db)
	if closeErr := db.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close the store: %w", closeErr)
	}
	return err
}
