package transfer

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/lightning-db/lightning/api"
)

// Scanner is what an export reads from; *client.Client implements it.
type Scanner interface {
	Scan(ctx context.Context, r api.Range) iter.Seq2[api.Item, error]
}

// ExportOptions are the settings of an export.
type ExportOptions struct {
	Range api.Range
	// Patience is how long nothing may come before the export fails.
	Patience time.Duration
	// Progress is told of what was written. It must be quick. Nil: nobody is told.
	Progress func(keys, bytes int)
}

// Exported counts what an export wrote.
type Exported struct {
	Keys  uint64 `json:"keys"`
	Bytes uint64 `json:"bytes"`
	// Resumed counts how often the export went on after an error.
	Resumed int `json:"resumed"`
}

const (
	bufferBytes  = 1 << 20
	resumePause  = 200 * time.Millisecond
	longestPause = 5 * time.Second
)

// Export writes the range to w. After an error what was written is a beginning of the whole.
func Export(ctx context.Context, from Scanner, w io.Writer, o ExportOptions) (Exported, error) {
	var done Exported
	out := bufio.NewWriterSize(w, bufferBytes)
	rest, pause := o.Range, resumePause
	lastProgress := time.Now()
	for {
		err := exportSome(ctx, from, &rest, func(item api.Item) error {
			n, err := writeLine(out, item)
			if err != nil {
				return writeError{err}
			}
			done.Keys, done.Bytes = done.Keys+1, done.Bytes+uint64(n)
			if o.Progress != nil {
				o.Progress(1, n)
			}
			lastProgress, pause = time.Now(), resumePause
			return nil
		})
		if err == nil {
			break
		}
		if !api.Row(api.CodeOf(err)).Retry || ctx.Err() != nil || time.Since(lastProgress) > o.Patience {
			return done, fmt.Errorf("export, after %d keys: %w", done.Keys, err)
		}
		done.Resumed++
		if waitErr := wait(ctx, pause); waitErr != nil {
			return done, fmt.Errorf("export, after %d keys: %w", done.Keys, err)
		}
		pause = min(2*pause, longestPause)
	}
	if err := out.Flush(); err != nil {
		return done, writeError{err}
	}
	return done, nil
}

// exportSome scans until the range or the scan ends, and takes what it wrote out of the rest.
func exportSome(ctx context.Context, from Scanner, rest *api.Range, write func(api.Item) error) error {
	if rest.Limit == 0 {
		return scanAll(ctx, from, *rest, rest, write)
	}
	limit, written := rest.Limit, uint64(0)
	err := scanAll(ctx, from, *rest, rest, func(item api.Item) error {
		written++
		return write(item)
	})
	if rest.Limit = limit - min(written, limit); rest.Limit == 0 {
		return nil // 0 would be all
	}
	return err
}

func scanAll(ctx context.Context, from Scanner, r api.Range, rest *api.Range, write func(api.Item) error) error {
	for item, err := range from.Scan(ctx, r) {
		if err != nil {
			return err
		}
		if err := write(item); err != nil {
			return err
		}
		if r.Reverse {
			rest.End = bytes.Clone(item.Key)
		} else {
			rest.Start = append(bytes.Clone(item.Key), 0) // the next possible key
		}
	}
	return nil
}

// writeError is a failure of the output and not of the store.
type writeError struct{ cause error }

func (e writeError) Error() string { return "write the export: " + e.cause.Error() }
func (e writeError) Unwrap() error { return e.cause }

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
