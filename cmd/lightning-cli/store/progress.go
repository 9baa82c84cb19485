package store

import (
	"context"
	"errors"
	"log/slog"

	"github.com/lightning-db/lightning/engine"
)

// counter counts what an engine logs as progress.
type counter struct{ count func(items, bytes int) }

// counting makes a logger for that.
func counting(count func(items, bytes int)) *slog.Logger { return slog.New(counter{count}) }

// Enabled implements slog.Handler.
func (counter) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (c counter) Handle(context.Context, slog.Record) error {
	c.count(1, 0)
	return nil
}

// WithAttrs implements slog.Handler.
func (c counter) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup implements slog.Handler.
func (c counter) WithGroup(string) slog.Handler { return c }

func isNoStore(err error) bool { return errors.Is(err, engine.ErrNoStore) }
