package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// syncData is fdatasync: it writes the length if that changed, and not the times, whose change
// would cost a commit of the file system's journal at every call.
func syncData(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) {
		for {
			if result = syscall.Fdatasync(int(fd)); !errors.Is(result, syscall.EINTR) {
				return
			}
		}
	})
	if err != nil { // the only reason there is
		return fs.ErrClosed
	}
	return result
}
