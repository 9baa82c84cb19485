package vfs

import (
	"errors"
	"io/fs"
	"syscall"
)

// Full reports whether an error says that there is no room on the disk, or none for this user.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// NoRoom reports whether an error says that there was no room for a new file or for bytes that were to be written. The
// file may be removed then, and written again when there is room. A failed sync is not that, although it may say that
// the disk is full: nobody knows what it lost.
func NoRoom(err error) bool {
	var failed *fs.PathError
	if !Full(err) || !errors.As(err, &failed) {
		return false
	}
	switch failed.Op {
	case "write", "create", "open": // package os opens a file to create it
		return true
	}
	return false
}
