package engine

import (
	"errors"
	"fmt"
	"path"

	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Checkpoint makes a complete store in a new directory of the same file system, by hard links to
// the tables. It holds every batch applied before the call, perhaps some applied during it, and
// exactly those up to the position that it returns. On return all of it is durable. After an
// error the directory is gone again; a crash may leave it without a manifest, which Open refuses
// if there are tables. Writers, readers and compactions go on meanwhile.
func (db *DB) Checkpoint(dir string) (Position, error) {
	if err := db.Flush(); err != nil {
		return Position{}, err
	}
	fs := db.options.FS
	dir = path.Clean(dir)
	if _, err := fs.List(dir); err == nil {
		return Position{}, fmt.Errorf("checkpoint to %s: %w", dir, ErrExists)
	} else if !vfs.IsNotExist(err) {
		return Position{}, fmt.Errorf("checkpoint to %s: %w", dir, err)
	}
	// State and view belong together under this lock; the view keeps the files from then on.
	db.install.Lock()
	state, v := db.durable.Load(), db.acquire()
	db.install.Unlock()
	if v == nil {
		return Position{}, ErrClosed
	}
	defer v.unref()
	if err := db.linkState(dir, state); err != nil {
		if cleanErr := fs.RemoveAll(dir); cleanErr != nil {
			db.options.Logger.Warn("failed checkpoint not removed", "dir", dir, "error", cleanErr)
		}
		return Position{}, fmt.Errorf("checkpoint to %s: %w", dir, err)
	}
	return Position{Index: state.PositionIndex, Term: state.PositionTerm}, nil
}

// linkState links the tables first and writes the manifest last: with it the copy is complete.
func (db *DB) linkState(dir string, state *manifest.State) error {
	fs := db.options.FS
	if err := fs.MkdirAll(dir); err != nil {
		return err
	}
	copied := *state
	copied.LogUsed = false // all that it holds is in tables
	if seededbug.Enabled(seededbug.EngineCheckpointWithoutSync) {
		return errors.Join(manifest.Store(fs, dir, &copied), db.linkTables(dir, state))
	}
	if err := db.linkTables(dir, state); err != nil {
		return err
	}
	if err := fs.SyncDir(dir); err != nil {
		return err
	}
	return manifest.Store(fs, dir, &copied)
}

func (db *DB) linkTables(dir string, state *manifest.State) error {
	for _, t := range state.Tables {
		name := tableName(t.Number)
		if err := db.options.FS.Link(db.path(name), dir+"/"+name); err != nil {
			return err
		}
	}
	return nil
}
