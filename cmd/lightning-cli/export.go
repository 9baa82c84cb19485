package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/cmd/lightning-cli/transfer"
)

func (a *app) exportCommand() *cobra.Command {
	var f scanFlags
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "export FILE|-",
		Short: "Write keys and values to a file as JSON lines",
		Long: "Write keys, values and expiries as JSON lines to a file, or to standard output when it is -.\n" +
			"The file appears under its name only when it is complete and on disk; one of that name before\n" +
			"is replaced then. With -, a device or a pipe only the exit code tells whether the output is complete.\n\n" +
			"Each page is read at its own time: the export as a whole is not one snapshot. When nodes fail it\n" +
			"goes on behind the last key, until nothing has come for --patience.",
		Args: arguments(1, 1, "FILE or -"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.selected()
			if err != nil {
				return err
			}
			o := transfer.ExportOptions{Range: r, Patience: patience}
			return a.withClient(func(c *client.Client) error { return a.export(cmd.Context(), c, args[0], o) })
		},
	}
	flags := cmd.Flags()
	f.registerRange(flags)
	flags.DurationVar(&patience, "patience", time.Minute, "how long to try again after errors that may pass")
	return cmd
}

func (a *app) export(ctx context.Context, c *client.Client, name string, o transfer.ExportOptions) error {
	p := a.startProgress("keys")
	o.Progress = p.count
	var done transfer.Exported
	write := func(w io.Writer) (err error) {
		done, err = transfer.Export(ctx, c, w, o)
		return err
	}
	err := error(nil)
	if name == "-" {
		err = write(a.stdout)
	} else {
		err = writeWhole(name, write)
	}
	p.end()
	switch {
	case err != nil:
		return err
	case name == "-":
		_, _ = fmt.Fprintf(a.stderr, "exported %d keys, %s\n", done.Keys, byteText(done.Bytes)) // stdout holds the keys
		return nil
	case a.json():
		return a.printJSON(done)
	default:
		return a.printf("exported %d keys, %s, to %s\n", done.Keys, byteText(done.Bytes), name)
	}
}

// writeWhole makes a file of what write writes: under its name there is the whole of it or what
// was there before. Only its owner may read it, as it may hold anything. A link stays, and the
// file that it leads to is replaced; a device or a pipe cannot be, so it is written into.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	info, err := os.Stat(name)
	switch {
	case err != nil: // what is missing is made; anything else is said when that fails
	case info.IsDir():
		return usagef("export: %s is a folder", name)
	case !info.Mode().IsRegular():
		return writeInto(name, write)
	default:
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return usagef("export: %w", err)
		}
	}
	folder := filepath.Dir(name)
	f, err := os.CreateTemp(folder, "."+filepath.Base(name)+".part-*")
	if err != nil {
		var cause *os.PathError // whose path is of the temporary name
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return usagef("export into the folder %s: %w", folder, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close() // perhaps it is closed
			if removeErr := os.Remove(f.Name()); removeErr != nil {
				err = fmt.Errorf("%w; and %w", err, removeErr)
			}
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	syncFolder(folder)
	return nil
}

func writeInto(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return usagef("export: %w", err)
	}
	err = write(f)
	if closeErr := f.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("write the export: %w", closeErr)
	}
	return err
}

// syncFolder makes the new name survive a crash of the machine, where the file system can do that.
// The file itself is whole and in place, so there is nothing to report.
func syncFolder(folder string) {
	d, err := os.Open(folder)
	if err != nil {
		return
	}
	_ = d.Sync()
	_ = d.Close()
}
