package engine

import (
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Errors that callers compare with errors.Is.
var (
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("engine is closed")
	// ErrCorrupt is matched by every CorruptionError.
	ErrCorrupt = corrupt.Err
	// ErrSnapshotTooOld is returned by a read at a version whose rows may already have been
	// dropped: below the horizon, or not the newest where Options.RetainVersions is off.
	ErrSnapshotTooOld = errors.New("snapshot too old")
	// ErrVersion is returned by Apply for a version that a row cannot have: MaxVersion, or one
	// at which reads are no longer possible (see ErrSnapshotTooOld).
	ErrVersion = errors.New("version is not writable")
	// ErrTooLarge is returned by Apply for a key, a value or a batch over its limit, and for an
	// empty key.
	ErrTooLarge = errors.New("key, value or batch is outside its limits")
	// ErrRange is returned by Apply for a range of keys without one: its start must be before its end.
	ErrRange = errors.New("range of keys is empty, its start must be before its end")
	// ErrDiskFull is returned by Apply when there is no room on the disk: for the record in the log, or for the memtables that wait to be
	// written. Nothing has changed, and reads go on: make room, and apply again. Flush, Compact and Close return it when
	// what they want written finds no room. The store tries again by itself. Batches of deletes alone are still taken
	// for some time, as they are what makes room.
	ErrDiskFull = errors.New("disk is full")
	// ErrLocked is returned by Open and Repair, at once, when another process, or another part of this one, has the store open.
	// The text names the file.
	ErrLocked = vfs.ErrLocked
	// ErrReadOnly is returned by whatever would write when the store was opened with Options.ReadOnly.
	ErrReadOnly = errors.New("engine is open for reading only")
	// ErrNoStore is returned by Open with Options.ReadOnly, and by Repair, for a directory without a store.
	ErrNoStore = errors.New("directory has no store")
	// ErrUnrepaired is returned by Open for a directory in which Repair was cut short: run it again.
	ErrUnrepaired = errors.New("a repair was cut short, run it again")
	// ErrExists is returned by Checkpoint when its directory exists.
	ErrExists = errors.New("directory exists")
)

// CorruptionError says which file is damaged, where, what was expected and what was found. It
// matches ErrCorrupt. What it names was not served to anyone.
type CorruptionError = corrupt.Error

// FailedError is returned by every write after the first one that the disk refused for another reason than that it is full, after
// the first sync that failed, and after a flush or a compaction that could not read. The store does not retry: after
// a failed fsync nobody knows what is on the disk. Reads keep working; close and open again to
// continue from what is durable.
type FailedError struct{ Cause error }

// Error implements error.
func (e *FailedError) Error() string { return fmt.Sprintf("storage failed: %v", e.Cause) }

// Unwrap gives the first cause.
func (e *FailedError) Unwrap() error { return e.Cause }
