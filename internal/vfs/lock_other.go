//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package vfs

import (
	"errors"
	"os"
)

// lockFile refuses: without a lock that dies with its process two nodes could open one directory.
func lockFile(*os.File, bool) error { return errors.ErrUnsupported }
