package vfs

import (
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// contents are the bytes of a file, and what of them a crash leaves.
//
//	data    [ synced bytes ......... | unsynced bytes ... ]
//	                                 ^ synced
//
// data[:synced] is never changed in place, so clones share it, unless the file was opened with
// Update; then sectors is set and clones copy.
type contents struct {
	data   []byte
	synced int
	// before is what was synced before the file was truncated or overwritten: until the next
	// sync a crash may bring it back. Nil if there was none.
	before []byte
	// lost are the parts of data whose sync failed: a later sync does not bring them to disk (D3).
	lost []span
	// sectors is what a crash may leave of a file that is written in place.
	sectors *sectors
}

// span is a half-open range of bytes.
type span struct{ start, end int }

func (c *contents) truncate() {
	c.keepBefore()
	c.data, c.synced, c.lost, c.sectors = nil, 0, nil, nil
}

// keepBefore remembers the synced bytes, which are about to be replaced.
func (c *contents) keepBefore() {
	if c.before == nil && c.synced > 0 {
		c.before = c.data[:c.synced:c.synced]
	}
}

func (c *contents) writeAt(p []byte, off int) {
	if c.sectors != nil {
		c.overwriteAt(p, off)
		return
	}
	if off < c.synced { // a second handle writes over synced bytes, which clones may share
		c.keepBefore()
		c.data, c.synced = slices.Clone(c.data), off
	}
	if gap := off - len(c.data); gap > 0 { // the file was truncated under this handle
		c.data = append(c.data, make([]byte, gap)...)
	}
	n := copy(c.data[off:], p)
	c.data = append(c.data, p[n:]...)
}

func (c *contents) sync() {
	c.synced, c.before = len(c.data), nil
	if c.sectors != nil {
		clear(c.sectors.dirty)
	}
}

// failSync marks what a sync should have written as lost.
func (c *contents) failSync() {
	if c.sectors != nil {
		c.loseSectors()
		return
	}
	if c.synced < len(c.data) {
		c.lost = append(c.lost, span{c.synced, len(c.data)})
	}
}

// memFile is an open file of a Mem.
type memFile struct {
	// Set by Create and Open, never written again.
	fs       *Mem
	node     *node
	name     string
	writable bool

	// Guarded by fs.mu.
	offset int // of the next write
	closed bool
}

func (f *memFile) checkLocked() error {
	if f.closed {
		return fs.ErrClosed
	}
	return nil
}

// ReadAt implements File.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.checkLocked(); err != nil {
		return 0, pathError(OpRead, f.name, err)
	}
	if off < 0 {
		return 0, pathError(OpRead, f.name, syscall.EINVAL)
	}
	if off >= int64(len(f.node.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write implements File.
func (f *memFile) Write(p []byte) (int, error) {
	f.fs.called(OpWrite, f.name)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked(); err != nil {
		return 0, pathError(OpWrite, f.name, err)
	}
	if !f.writable {
		return 0, pathError(OpWrite, f.name, syscall.EBADF)
	}
	f.node.writeAt(p, f.offset)
	f.offset += len(p)
	return len(p), nil
}

// WriteAt implements UpdatedFile.
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.called(OpWrite, f.name)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked(); err != nil {
		return 0, pathError(OpWrite, f.name, err)
	}
	if off < 0 {
		return 0, pathError(OpWrite, f.name, syscall.EINVAL)
	}
	f.node.writeAt(p, int(off))
	return len(p), nil
}

// SyncData implements UpdatedFile.
func (f *memFile) SyncData() error { return f.Sync() }

// Sync implements File.
func (f *memFile) Sync() error {
	f.fs.called(OpSync, f.name)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked(); err != nil {
		return pathError(OpSync, f.name, err)
	}
	f.node.sync()
	return nil
}

// failSync is what Fault calls instead of Sync when it fails one.
func (f *memFile) failSync() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.failSync()
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.checkLocked(); err != nil {
		return 0, pathError(OpSize, f.name, err)
	}
	return int64(len(f.node.data)), nil
}

// Close implements File.
func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked(); err != nil {
		return pathError(OpClose, f.name, err)
	}
	f.closed = true
	return nil
}
