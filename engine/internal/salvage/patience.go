package salvage

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/lightning-db/lightning/internal/vfs"
)

// readTries is how often a read is tried. A disk that is about to fail gives some of its sectors at the second or third time; one that
// does not has been asked by the system itself several times before.
const readTries = 3

// patient is a file system that repeats reads which the disk fails, so that what fails once is not taken for lost.
type patient struct{ vfs.FS }

// Open implements vfs.FS.
func (p patient) Open(name string) (vfs.File, error) {
	f, err := p.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return patientFile{f}, nil
}

type patientFile struct{ vfs.File }

// ReadAt implements io.ReaderAt.
func (f patientFile) ReadAt(b []byte, offset int64) (n int, err error) {
	for range readTries {
		if n, err = f.File.ReadAt(b, offset); !errors.Is(err, syscall.EIO) {
			break
		}
	}
	return n, err
}

// unsteady is what ends a repair when rows can be read at one time and not at another: what is lost cannot be told.
func unsteady(name string, err error) error {
	return fmt.Errorf("reads of %s fail at times: copy the store to another disk and repair the copy: %w", name, err)
}
