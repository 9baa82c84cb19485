package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
)

// FS is a file system as storage code needs it. Names are slash-separated paths. Errors match
// fs.ErrNotExist, fs.ErrExist and fs.ErrPermission where they apply. Safe for concurrent use.
//
// Durability follows POSIX: bytes written are durable after File.Sync; a created, renamed,
// linked or removed name is durable after SyncDir on its directory. Nothing else is promised.
type FS interface {
	Files
	Dirs
	Updates
	Readers
}

// Files works on names of files.
type Files interface {
	// Create makes an empty file for writing and reading, truncating one that exists.
	Create(name string) (File, error)
	// Open opens a file for reading only.
	Open(name string) (File, error)
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// Rename replaces the file newName atomically. A directory moves with all it holds, but only
	// to a name that does not exist.
	Rename(oldName, newName string) error
	// Link makes newName another name of the same file; it fails if newName exists.
	Link(oldName, newName string) error
}

// Dirs works on directories.
type Dirs interface {
	// MkdirAll makes a directory and its parents, and syncs each parent it added to.
	MkdirAll(dir string) error
	// List returns the names in a directory, sorted.
	List(dir string) ([]string, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// RemoveAll deletes a tree; a missing one is no error.
	RemoveAll(dir string) error
	// Lock takes an exclusive lock that dies with the process; ErrLocked if another holds it.
	Lock(name string) (io.Closer, error)
}

// File is an open file. Methods but Close may be called concurrently if the offsets differ.
type File interface {
	io.ReaderAt
	io.Writer // appends at the end of what was written through this handle
	io.Closer
	// Sync makes the file's bytes durable. After it failed once the bytes may be lost although
	// a second Sync succeeds: callers must not retry.
	Sync() error
	// Size is the file's length in bytes.
	Size() (int64, error)
}

// Updates works on files that are written in place, again and again.
type Updates interface {
	// Update opens a file that exists for reading and for writing anywhere.
	Update(name string) (UpdatedFile, error)
}

// UpdatedFile is a file whose bytes are written in place. A crash may leave each sector that was
// written and not synced old, new, or torn: some of its bytes old and some new (D5). Methods may
// be called concurrently if the offsets differ; Close fails those that come after it.
type UpdatedFile interface {
	io.ReaderAt
	// WriteAt may also write beyond the end, which makes the file longer.
	io.WriterAt
	io.Closer
	// SyncData makes the file's bytes and its length durable, but not its times, so that it costs
	// less than Sync while the length stays. It must not be retried either.
	SyncData() error
	// Size is the file's length in bytes.
	Size() (int64, error)
}

// Readers keeps writers away from who only reads.
type Readers interface {
	// LockShared takes a lock that many may hold at a time, but nobody while Lock is held, and that keeps Lock out. The
	// file must exist: nothing is written.
	LockShared(name string) (io.Closer, error)
}

// ErrLocked is returned by Lock and LockShared when another process, or another part of this one, holds the lock.
var ErrLocked = errors.New("file is locked")

// ErrTooLong is returned by ReadShortFile.
var ErrTooLong = errors.New("file is longer than it may be")

// ReadFile reads a whole file.
func ReadFile(fsys Files, name string) ([]byte, error) {
	return ReadShortFile(fsys, name, math.MaxInt64)
}

// ReadShortFile is ReadFile for a file that has a longest length. A longer one, such as one with a damaged length, is not read: it
// is ErrTooLong.
func ReadShortFile(fsys Files, name string, maxBytes int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxBytes {
		return nil, fmt.Errorf("%s: %d bytes, at most %d: %w", name, size, maxBytes, ErrTooLong)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && (!errors.Is(err, io.EOF) || int64(n) != size) {
		return nil, err
	}
	return b, nil
}

// WriteFileAtomic replaces the file dir/name so that after a crash either the old or the new
// bytes are there, and returns only when the new ones are durable.
func WriteFileAtomic(fsys FS, dir, name string, data []byte) error {
	tmp := dir + "/" + name + ".tmp"
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := fsys.Rename(tmp, dir+"/"+name); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// IsNotExist reports whether err says that a file is missing.
func IsNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
