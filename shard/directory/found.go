package directory

import (
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Found makes dir a directory that Open accepts: its engine is a checkpoint of this one, after change has changed it.
// What an earlier call left of dir is removed. It is durable on return, but for the name of dir itself.
func (h *Handle) Found(dir string, change func(*engine.DB) error) error {
	const first = 1
	s := h.store
	if err := s.fs.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what is left of %s: %w", dir, err)
	}
	if err := s.fs.MkdirAll(dir); err != nil {
		return err
	}
	path := dir + "/" + engineName(first)
	if _, err := h.DB.Checkpoint(path); err != nil {
		return err
	}
	options := s.options
	options.OnFailure = nil // whoever called is told
	db, err := engine.Open(path, options)
	if err != nil {
		return err
	}
	if err = change(db); err == nil {
		err = db.Flush()
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := s.fs.SyncDir(dir); err != nil {
		return err
	}
	return writeCurrent(s.fs, dir, first)
}

// Founded reports whether dir is a directory that holds an engine already.
func Founded(fs vfs.FS, dir string) (bool, error) {
	f, err := fs.Open(dir + "/" + currentName)
	if vfs.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}
