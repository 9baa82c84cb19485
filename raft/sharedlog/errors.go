package sharedlog

import (
	"errors"
	"fmt"
	"io/fs"
)

// errKeyNotFound has the text that hashicorp/raft compares.
var errKeyNotFound = errors.New("not found")

var errClosed = fmt.Errorf("shared log: %w", fs.ErrClosed)

// ErrDropped says that a replica was dropped: it must not be created again.
var ErrDropped = errors.New("shared log: the replica was dropped")

// DamageError says that bytes were read back other than they were written. The log serves
// nothing of a replica that they concern, and does not open if it cannot tell whom they concern.
type DamageError struct {
	File     string
	Offset   int64
	Reason   string
	Expected string
	Found    string
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("shared log: %s is damaged at offset %d: %s: expected %s, found %s", e.File, e.Offset, e.Reason, e.Expected, e.Found)
}
