package raft

import (
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/internal/vfs"
)

// The end of a replica.
//
// A replica that is no member any more, by a membership that is committed, has no use: its votes and entries count for
// nobody. Its log goes first, durably, and that is final: the incarnation is never opened again, so that whatever
// a crash leaves of its state cannot come back without its votes. What else it has is removed after that, and
// again at the next start if a crash came between.

// Discard forgets the log, the term and the votes of a replica that does not run, for good. When it returns that
// is durable. It may be repeated.
func (h *Host) Discard(id GroupID, incarnation uint64) error {
	if err := h.reserve(id); err != nil {
		return err
	}
	defer h.unreserve(id)
	if err := h.opts.Storage.Drop(id, incarnation); err != nil {
		return fmt.Errorf("discard a replica of group %s: %w", id, err)
	}
	fsys, dir := h.opts.FS, h.opts.Dir+"/"+bornDir
	err := fsys.Remove(dir + "/" + bornName(id, incarnation))
	if vfs.IsNotExist(err) {
		return nil
	}
	if err = errors.Join(err, fsys.SyncDir(dir)); err != nil {
		return fmt.Errorf("discard a replica of group %s: %w", id, err)
	}
	return nil
}

// Ran reports whether a replica has run on this disk and was not discarded, whatever is left of it.
func (h *Host) Ran(id GroupID, incarnation uint64) (bool, error) {
	f, err := h.opts.FS.Open(h.opts.Dir + "/" + bornDir + "/" + bornName(id, incarnation))
	if vfs.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether a replica of group %s ran before: %w", id, err)
	}
	return true, f.Close()
}

// Discarded reports whether a replica was discarded: what is left of its state is rubbish.
func (h *Host) Discarded(id GroupID, incarnation uint64) (bool, error) {
	return h.opts.Storage.Dropped(id, incarnation)
}
