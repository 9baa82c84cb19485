package vfs

import (
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Mem is a file system in memory that forgets in a crash what a disk may forget. Names are
// cleaned; "a/b" and "/a/b" are the same file. Safe for concurrent use.
type Mem struct {
	onCall atomic.Pointer[func(Op, string)]

	// mu is a leaf. It covers the tree below root, contents included.
	mu struct {
		sync.RWMutex
		root    *node
		journal []change // changes of names that are not durable, oldest first
		locks   map[string]*memLock
	}
}

// node is a file or a directory. Several names may lead to one file.
type node struct {
	// names and durable are nil for a file. durable is what a crash surely leaves; the
	// difference to names is in the journal.
	names   map[string]*node
	durable map[string]*node

	contents
}

func newDir() *node { return &node{names: map[string]*node{}, durable: map[string]*node{}} }

func (n *node) isDir() bool { return n.names != nil }

// NewMem returns an empty file system: a root directory.
func NewMem() *Mem {
	m := &Mem{}
	m.mu.root = newDir()
	m.mu.locks = map[string]*memLock{}
	return m
}

// OnCall has f called at the start of every call in OpMutating, before it changes anything and
// with no lock held, on the caller's goroutine; nil turns it off. A test takes a CrashClone in it
// to see each state in which a process may die. Not inherited by clones.
func (m *Mem) OnCall(f func(op Op, name string)) {
	if f == nil {
		m.onCall.Store(nil)
		return
	}
	m.onCall.Store(&f)
}

func (m *Mem) called(op Op, name string) {
	if f := m.onCall.Load(); f != nil {
		(*f)(op, name)
	}
}

// splitPath returns the directories on the way to name and its last part; both are empty for
// the root.
func splitPath(name string) (dirs []string, base string) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return nil, ""
	}
	parts := strings.Split(name, "/")
	return parts[:len(parts)-1], parts[len(parts)-1]
}

// parentLocked finds the directory that holds name.
func (m *Mem) parentLocked(name string) (dir *node, base string, err error) {
	dirs, base := splitPath(name)
	dir = m.mu.root
	for _, d := range dirs {
		next, ok := dir.names[d]
		if !ok {
			return nil, "", syscall.ENOENT
		}
		if !next.isDir() {
			return nil, "", syscall.ENOTDIR
		}
		dir = next
	}
	return dir, base, nil
}

func (m *Mem) lookupLocked(name string) (*node, error) {
	dir, base, err := m.parentLocked(name)
	if err != nil {
		return nil, err
	}
	if base == "" {
		return dir, nil
	}
	n, ok := dir.names[base]
	if !ok {
		return nil, syscall.ENOENT
	}
	return n, nil
}

func pathError(op Op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op.String(), Path: name, Err: err}
}

func linkError(op Op, oldName, newName string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op.String(), Old: oldName, New: newName, Err: err}
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.called(OpCreate, name)
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.createLocked(name)
	if err != nil {
		return nil, pathError(OpCreate, name, err)
	}
	n.truncate()
	return &memFile{fs: m, node: n, name: name, writable: true}, nil
}

// createLocked finds or makes the file.
func (m *Mem) createLocked(name string) (*node, error) {
	dir, base, err := m.parentLocked(name)
	if err != nil {
		return nil, err
	}
	if base == "" {
		return nil, syscall.EISDIR
	}
	if n, ok := dir.names[base]; ok {
		if n.isDir() {
			return nil, syscall.EISDIR
		}
		return n, nil
	}
	n := &node{}
	m.changeLocked(edit{dir, base, n})
	return n, nil
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookupLocked(name)
	if err == nil && n.isDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError(OpOpen, name, err)
	}
	return &memFile{fs: m, node: n, name: name}, nil
}

// Update implements FS.
func (m *Mem) Update(name string) (UpdatedFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookupLocked(name)
	if err == nil && n.isDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError(OpUpdate, name, err)
	}
	n.updateInPlace()
	return &memFile{fs: m, node: n, name: name, writable: true}, nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.called(OpRemove, name)
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked(name)
	if err != nil {
		return pathError(OpRemove, name, err)
	}
	n, ok := dir.names[base]
	switch {
	case base == "":
		err = syscall.EBUSY
	case !ok:
		err = syscall.ENOENT
	case n.isDir() && len(n.names) > 0:
		err = syscall.ENOTEMPTY
	default:
		m.changeLocked(edit{dir, base, nil})
	}
	return pathError(OpRemove, name, err)
}

// Rename implements FS.
func (m *Mem) Rename(oldName, newName string) error {
	m.called(OpRename, newName)
	m.mu.Lock()
	defer m.mu.Unlock()
	return linkError(OpRename, oldName, newName, m.renameLocked(oldName, newName))
}

func (m *Mem) renameLocked(oldName, newName string) error {
	oldDir, oldBase, err := m.parentLocked(oldName)
	if err != nil {
		return err
	}
	newDir, newBase, err := m.parentLocked(newName)
	if err != nil {
		return err
	}
	if oldBase == "" || newBase == "" {
		return syscall.EBUSY
	}
	n, ok := oldDir.names[oldBase]
	if !ok {
		return syscall.ENOENT
	}
	target, exists := newDir.names[newBase]
	switch {
	case exists && target.isDir():
		return syscall.EEXIST // POSIX replaces an empty one; package os never does
	case exists && target == n:
		return nil // two names of one file: POSIX does nothing
	case exists && n.isDir():
		return syscall.ENOTDIR
	case n.isDir() && strings.HasPrefix(path.Clean("/"+newName)+"/", path.Clean("/"+oldName)+"/"):
		return syscall.EINVAL // into itself
	}
	m.changeLocked(edit{oldDir, oldBase, nil}, edit{newDir, newBase, n})
	return nil
}

// Link implements FS.
func (m *Mem) Link(oldName, newName string) error {
	m.called(OpLink, newName)
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookupLocked(oldName)
	if err != nil {
		return linkError(OpLink, oldName, newName, err)
	}
	dir, base, err := m.parentLocked(newName)
	switch {
	case err != nil:
	case base == "" || dir.names[base] != nil:
		err = syscall.EEXIST
	case n.isDir():
		err = syscall.EPERM
	default:
		m.changeLocked(edit{dir, base, n})
	}
	return linkError(OpLink, oldName, newName, err)
}

// MkdirAll implements FS. What it makes is durable at once, and so is the name of the deepest
// directory that was there, as with OS.
func (m *Mem) MkdirAll(dir string) error {
	m.called(OpMkdirAll, dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	dirs, base := splitPath(dir)
	if base == "" {
		return nil
	}
	at, above := m.mu.root, (*node)(nil)
	made := false
	for _, name := range append(slices.Clone(dirs), base) {
		next, ok := at.names[name]
		if ok && !next.isDir() {
			return pathError(OpMkdirAll, dir, syscall.ENOTDIR)
		}
		if !ok {
			if !made && above != nil {
				m.settleLocked(above)
			}
			made = true
			next = newDir()
			m.changeLocked(edit{at, name, next})
			m.settleLocked(at)
		}
		above, at = at, next
	}
	if !made {
		m.settleLocked(above)
	}
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookupLocked(dir)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError(OpList, dir, err)
	}
	return sortedNames(n.names), nil
}

func sortedNames(names map[string]*node) []string {
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.called(OpSyncDir, dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookupLocked(dir)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathError(OpSyncDir, dir, err)
	}
	m.settleLocked(n)
	return nil
}

// RemoveAll implements FS. Like a real one it removes name by name, so a crash may leave a part.
func (m *Mem) RemoveAll(dir string) error {
	m.called(OpRemoveAll, dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	parent, base, err := m.parentLocked(dir)
	if err != nil {
		if IsNotExist(err) {
			return nil
		}
		return pathError(OpRemoveAll, dir, err)
	}
	if base == "" {
		return pathError(OpRemoveAll, dir, syscall.EBUSY)
	}
	if n, ok := parent.names[base]; ok {
		m.removeTreeLocked(n)
		m.changeLocked(edit{parent, base, nil})
	}
	return nil
}

func (m *Mem) removeTreeLocked(n *node) {
	for _, name := range sortedNames(n.names) {
		m.removeTreeLocked(n.names[name])
		m.changeLocked(edit{n, name, nil})
	}
}

// memLock is a held lock, or one of those of readers, which have one entry in Mem.
type memLock struct {
	fs     *Mem
	key    string
	shared int // readers that hold it, 0 for an exclusive one
}

// Lock implements FS. A crash clone has no locks: they die with the process.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.called(OpLock, name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.createLocked(name); err != nil {
		return nil, pathError(OpLock, name, err)
	}
	key := path.Clean("/" + name)
	if m.mu.locks[key] != nil {
		return nil, pathError(OpLock, name, ErrLocked)
	}
	l := &memLock{fs: m, key: key}
	m.mu.locks[key] = l
	return l, nil
}

// LockShared implements FS.
func (m *Mem) LockShared(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.lookupLocked(name); err != nil {
		return nil, pathError(OpLock, name, err)
	}
	key := path.Clean("/" + name)
	l := m.mu.locks[key]
	switch {
	case l == nil:
		l = &memLock{fs: m, key: key}
		m.mu.locks[key] = l
	case l.shared == 0:
		return nil, pathError(OpLock, name, ErrLocked)
	}
	l.shared++
	return &memReader{lock: l}, nil
}

// memReader is a reader's share of a lock.
type memReader struct{ lock *memLock }

// Close gives the share back.
func (r *memReader) Close() error {
	l := r.lock
	if l == nil {
		return fs.ErrClosed
	}
	r.lock = nil
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.shared--; l.shared == 0 {
		delete(l.fs.mu.locks, l.key)
	}
	return nil
}

// Close releases the lock.
func (l *memLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.fs.mu.locks[l.key] != l {
		return pathError(OpClose, l.key, fs.ErrClosed)
	}
	delete(l.fs.mu.locks, l.key)
	return nil
}
