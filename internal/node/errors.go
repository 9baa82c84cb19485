package node

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/lightning-db/lightning/internal/vfs"
)

// Exit codes of lightning-node. Scripts and supervisors decide by them.
const (
	ExitOK         = 0
	ExitUnexpected = 1
	ExitConfig     = 2 // usage or configuration
	ExitDataDir    = 3 // data directory unwritable, locked or foreign
	ExitAddress    = 4 // address in use or not ours
	ExitRefused    = 5 // the cluster refuses this node
	ExitStorage    = 6 // the disk failed while running
	ExitStalled    = 7 // the disk did not answer for too long
)

// DataDirError says that the data directory cannot be used.
type DataDirError struct {
	Dir   string
	Cause error
}

// Error implements error.
func (e *DataDirError) Error() string {
	switch {
	case errors.Is(e.Cause, vfs.ErrLocked):
		return fmt.Sprintf("data directory %s is in use by another lightning-node; stop it or choose another --data-dir", e.Dir)
	case errors.Is(e.Cause, syscall.EACCES), errors.Is(e.Cause, syscall.EROFS), errors.Is(e.Cause, syscall.EPERM):
		return fmt.Sprintf("data directory %s is not writable (%v); give the user that runs lightning-node write access", e.Dir, e.Cause)
	}
	return fmt.Sprintf("data directory %s cannot be used: %v", e.Dir, e.Cause)
}

// Unwrap gives the cause.
func (e *DataDirError) Unwrap() error { return e.Cause }

// AddressError says that a port cannot be listened on.
type AddressError struct {
	Flag    string
	Address string
	Cause   error
}

// Error implements error.
func (e *AddressError) Error() string {
	return fmt.Sprintf("cannot listen on %s (%v); choose another %s or stop what uses it", e.Address, e.Cause, e.Flag)
}

// Unwrap gives the cause.
func (e *AddressError) Unwrap() error { return e.Cause }

// RefusedError says that the cluster does not take this node as it is.
type RefusedError struct{ Cause error }

// Error implements error.
func (e *RefusedError) Error() string { return e.Cause.Error() }

// Unwrap gives the cause.
func (e *RefusedError) Unwrap() error { return e.Cause }

// StorageError says that a write or an fsync failed while the node ran. What was acknowledged
// is safe on the other nodes and in what this disk already had.
type StorageError struct{ Cause error }

// Error implements error.
func (e *StorageError) Error() string {
	return fmt.Sprintf("storage failed, the node stops: %v; free or replace the disk, then start it again", e.Cause)
}

// Unwrap gives the cause.
func (e *StorageError) Unwrap() error { return e.Cause }

// StalledError says that the disk did not answer a write for longer than --disk-stall-limit. The node
// ends without closing anything, which would wait for the disk as well.
type StalledError struct{ Cause error }

// Error implements error.
func (e *StalledError) Error() string {
	return fmt.Sprintf("the disk has stalled, the node ends: %v; look at the disk, then start it again", e.Cause)
}

// Unwrap gives the cause.
func (e *StalledError) Unwrap() error { return e.Cause }

// ExitCode maps the error that ended a node to the process' exit code.
func ExitCode(err error) int {
	var (
		config  *ConfigError
		dataDir *DataDirError
		address *AddressError
		refused *RefusedError
		storage *StorageError
		stalled *StalledError
	)
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &config):
		return ExitConfig
	case errors.As(err, &dataDir):
		return ExitDataDir
	case errors.As(err, &address):
		return ExitAddress
	case errors.As(err, &refused):
		return ExitRefused
	case errors.As(err, &stalled):
		return ExitStalled
	case errors.As(err, &storage):
		return ExitStorage
	}
	return ExitUnexpected
}
