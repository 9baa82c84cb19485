//go:build !linux

package vfs

import "os"

// syncData writes the times too, where there is no call that leaves them out.
func syncData(f *os.File) error { return f.Sync() }
