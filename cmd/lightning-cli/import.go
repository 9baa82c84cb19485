package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/cmd/lightning-cli/transfer"
	"github.com/lightning-db/lightning/router"
)

const (
	importWorkers    = 16
	maxImportWorkers = 256

	// maxBadLines are named; the others are counted only.
	maxBadLines = 20
)

// importFlags are import's own flags.
type importFlags struct {
	ifAbsent, overwrite bool
	workers             int
}

func (a *app) importCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Write keys and values from JSON lines",
		Long: "Write the keys, values and expiries of JSON lines, as export makes them, from a file or standard\n" +
			"input. Keys that exist are overwritten, unless --if-absent leaves them alone. Of lines with the\n" +
			"same key the last one wins, with --if-absent the first.\n\n" +
			"Lines that cannot be read or are refused are named on standard error, the others are written;\n" +
			"then the exit code is 8. After any other error the import stops, and the same command can be\n" +
			"repeated safely.\n\n" +
			`A line: {"key":"user:1","value":"Ada","expires_at_ms":1767225600000}. Bytes that are not UTF-8 are` + "\n" +
			"base64 in key_b64 and value_b64.",
		Args: arguments(1, 1, "FILE or -"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.ifAbsent && f.overwrite:
				return usagef("--if-absent and --overwrite exclude each other")
			case f.workers < 1 || f.workers > maxImportWorkers:
				return usagef("--workers is %d, want 1 to %d", f.workers, maxImportWorkers)
			}
			return a.withInput(args[0], func(in io.Reader) error {
				return a.withClient(func(c *client.Client) error { return a.importLines(cmd.Context(), c, in, f) })
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.ifAbsent, "if-absent", false, "leave keys alone that exist")
	flags.BoolVar(&f.overwrite, "overwrite", false, "overwrite keys that exist, as without it")
	flags.IntVar(&f.workers, "workers", importWorkers, "batches that are written at a time")
	return cmd
}

func (a *app) withInput(name string, use func(io.Reader) error) error {
	if name == "-" {
		return use(a.stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return usagef("import: %w", err)
	}
	defer f.Close() // nothing was written to it
	return use(f)
}

func (a *app) importLines(ctx context.Context, c *client.Client, in io.Reader, f importFlags) error {
	status, err := c.Status(ctx) // nobody there is said before a line is read
	if err != nil {
		return err
	}
	p := a.startProgress("lines")
	var bad []string // printed when the progress is off the terminal
	done, err := transfer.Import(ctx, c, &interruptible{ctx: ctx, from: in}, transfer.ImportOptions{
		IfAbsent: f.ifAbsent, Workers: f.workers, Group: byShard(status.GetMap()), Progress: p.count,
		Bad: func(line uint64, err error) {
			if len(bad) < maxBadLines {
				bad = append(bad, fmt.Sprintf("line %d: %v", line, err))
			}
		},
	})
	p.end()
	for _, text := range bad {
		_, _ = fmt.Fprintln(a.stderr, text) // nowhere to report that stderr is closed
	}
	if more := done.Bad - uint64(len(bad)); more > 0 {
		_, _ = fmt.Fprintf(a.stderr, "and %d more\n", more)
	}
	if printErr := a.printImported(done); err == nil {
		err = printErr
	}
	if err == nil && done.Bad > 0 {
		err = errPartly
	}
	if err != nil && !errors.Is(err, errPartly) {
		_, _ = fmt.Fprintln(a.stderr, "the same import can be repeated: what is written is written again, or found")
	}
	return err
}

func (a *app) printImported(done transfer.Imported) error {
	if a.json() {
		return a.printJSON(done)
	}
	return a.printf("read %d lines: %d written, %d existing, %d bad, %d open\n", done.Lines, done.Written, done.Existing, done.Bad, done.Open)
}

// byShard groups keys by the shards of a map. It stays right enough when the map changes: a batch
// that turns out to be of several shards is written line by line.
func byShard(m *pb.ClusterMap) func(key []byte) uint64 {
	shards := m.GetShards()
	return func(key []byte) uint64 {
		slot := uint32(router.Slot(0, key))
		for _, s := range shards {
			if s.GetStartSlot() <= slot && slot < s.GetEndSlot() {
				return s.GetId()
			}
		}
		return 0
	}
}
