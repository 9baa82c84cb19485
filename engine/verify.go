package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/wal"
)

// Verify reads every byte of every file of the store, past the cache, with all checks, and
// compares files, manifest and memory. The first damage is returned as a CorruptionError. When the store has failed, its
// manifest only has to be intact.
func (db *DB) Verify(ctx context.Context) error {
	db.install.Lock()
	state, v, unsure := db.durable.Load(), db.acquire(), db.install.unsure
	var found *manifest.State
	var err error
	if v != nil {
		found, err = manifest.Load(db.options.FS, db.dir)
	}
	db.install.Unlock()
	if v == nil {
		return ErrClosed
	}
	defer v.unref()
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if found == nil || !unsure && !slices.Equal(found.Encode(), state.Encode()) {
		return corrupt.Shape(manifest.Name, 0, "manifest", "the last state installed", "another one or none")
	}
	for _, tables := range v.set.Levels {
		for _, t := range tables {
			if err := t.Reader.Verify(ctx); err != nil {
				return fmt.Errorf("verify: %w", err)
			}
		}
	}
	if err := db.verifyLog(ctx); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// verifyLog reads the log again. Of a store that has failed nobody knows what it should be.
func (db *DB) verifyLog(ctx context.Context) error {
	switch {
	case db.options.ReadOnly:
		_, err := wal.Replay(db.options.FS, db.dir, db.logStart(), func(*wal.Batch) error { return ctx.Err() })
		return err
	case db.log != nil && db.failure() == nil:
		return db.log.Verify(ctx)
	}
	return nil
}
