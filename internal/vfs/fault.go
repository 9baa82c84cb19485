package vfs

import (
	"errors"
	"io"
	"path"
	"sync"
)

// Injector decides which calls fail. Safe for concurrent use.
type Injector interface {
	// Inject is called before a call is passed on. A nil error lets it through. A *ShortWrite
	// lets a part of a write through. Rename and Link come with the new name.
	Inject(op Op, name string) error
}

// InjectorFunc is a function as an Injector. One that always returns nil is a hook.
type InjectorFunc func(op Op, name string) error

// Inject implements Injector.
func (f InjectorFunc) Inject(op Op, name string) error { return f(op, name) }

// ShortWrite fails a write after a part of it reached the file, as a full disk does.
type ShortWrite struct {
	Bytes int // how many bytes are written; at most all
	Err   error
}

// Error implements error.
func (s *ShortWrite) Error() string { return "short write: " + s.Err.Error() }

// Unwrap returns the cause.
func (s *ShortWrite) Unwrap() error { return s.Err }

// NewFault returns inner with the failures that injector picks. A call that fails is not passed
// on, except that a failed Sync on a Mem loses what it should have written (D3).
func NewFault(inner FS, injector Injector) FS { return &faultFS{inner, injector} }

type faultFS struct {
	inner    FS
	injector Injector
}

func (f *faultFS) check(op Op, name string) error {
	return pathError(op, name, f.injector.Inject(op, name))
}

func (f *faultFS) Create(name string) (File, error) {
	if err := f.check(OpCreate, name); err != nil {
		return nil, err
	}
	return f.wrap(name)(f.inner.Create(name))
}

func (f *faultFS) Open(name string) (File, error) {
	if err := f.check(OpOpen, name); err != nil {
		return nil, err
	}
	return f.wrap(name)(f.inner.Open(name))
}

func (f *faultFS) wrap(name string) func(File, error) (File, error) {
	return func(file File, err error) (File, error) {
		if err != nil {
			return nil, err
		}
		return &faultFile{file, f, name}, nil
	}
}

func (f *faultFS) Update(name string) (UpdatedFile, error) {
	if err := f.check(OpUpdate, name); err != nil {
		return nil, err
	}
	file, err := f.inner.Update(name)
	if err != nil {
		return nil, err
	}
	return &faultUpdatedFile{file, f, name}, nil
}

func (f *faultFS) Remove(name string) error {
	if err := f.check(OpRemove, name); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

func (f *faultFS) Rename(oldName, newName string) error {
	if err := f.injector.Inject(OpRename, newName); err != nil {
		return linkError(OpRename, oldName, newName, err)
	}
	return f.inner.Rename(oldName, newName)
}

func (f *faultFS) Link(oldName, newName string) error {
	if err := f.injector.Inject(OpLink, newName); err != nil {
		return linkError(OpLink, oldName, newName, err)
	}
	return f.inner.Link(oldName, newName)
}

func (f *faultFS) MkdirAll(dir string) error {
	if err := f.check(OpMkdirAll, dir); err != nil {
		return err
	}
	return f.inner.MkdirAll(dir)
}

func (f *faultFS) List(dir string) ([]string, error) {
	if err := f.check(OpList, dir); err != nil {
		return nil, err
	}
	return f.inner.List(dir)
}

func (f *faultFS) SyncDir(dir string) error {
	if err := f.check(OpSyncDir, dir); err != nil {
		return err
	}
	return f.inner.SyncDir(dir)
}

func (f *faultFS) RemoveAll(dir string) error {
	if err := f.check(OpRemoveAll, dir); err != nil {
		return err
	}
	return f.inner.RemoveAll(dir)
}

func (f *faultFS) Lock(name string) (io.Closer, error) {
	if err := f.check(OpLock, name); err != nil {
		return nil, err
	}
	return f.inner.Lock(name)
}

func (f *faultFS) LockShared(name string) (io.Closer, error) {
	if err := f.check(OpLock, name); err != nil {
		return nil, err
	}
	return f.inner.LockShared(name)
}

type faultFile struct {
	inner File
	fs    *faultFS
	name  string
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.check(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.inner.ReadAt(p, off)
}

func (f *faultFile) Write(p []byte) (int, error) { return f.fs.write(f.name, p, f.inner.Write) }

// write passes a write on as far as the injector lets it.
func (f *faultFS) write(name string, p []byte, write func([]byte) (int, error)) (int, error) {
	err := f.injector.Inject(OpWrite, name)
	if err == nil {
		return write(p)
	}
	var short *ShortWrite
	n := 0
	if errors.As(err, &short) {
		var werr error
		if n, werr = write(p[:min(max(short.Bytes, 0), len(p))]); werr != nil {
			err = werr
		}
	}
	return n, pathError(OpWrite, name, err)
}

func (f *faultFile) Sync() error { return f.fs.sync(f.name, f.inner, f.inner.Sync) }

// sync passes a sync on, or tells a Mem below that it failed.
func (f *faultFS) sync(name string, file any, sync func() error) error {
	if err := f.check(OpSync, name); err != nil {
		failSync(file)
		return err
	}
	return sync()
}

func failSync(file any) {
	if m, ok := file.(interface{ failSync() }); ok {
		m.failSync()
	}
}

// failSync passes the failure on when Faults are stacked.
func (f *faultFile) failSync() { failSync(f.inner) }

func (f *faultFile) Size() (int64, error) {
	if err := f.fs.check(OpSize, f.name); err != nil {
		return 0, err
	}
	return f.inner.Size()
}

// Close closes the file even if the injector fails the call: a descriptor is gone either way.
func (f *faultFile) Close() error {
	err := f.fs.check(OpClose, f.name)
	if cerr := f.inner.Close(); err == nil {
		err = cerr
	}
	return err
}

type faultUpdatedFile struct {
	inner UpdatedFile
	fs    *faultFS
	name  string
}

func (f *faultUpdatedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.check(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.inner.ReadAt(p, off)
}

func (f *faultUpdatedFile) WriteAt(p []byte, off int64) (int, error) {
	return f.fs.write(f.name, p, func(p []byte) (int, error) { return f.inner.WriteAt(p, off) })
}

func (f *faultUpdatedFile) SyncData() error { return f.fs.sync(f.name, f.inner, f.inner.SyncData) }

func (f *faultUpdatedFile) failSync() { failSync(f.inner) }

func (f *faultUpdatedFile) Size() (int64, error) {
	if err := f.fs.check(OpSize, f.name); err != nil {
		return 0, err
	}
	return f.inner.Size()
}

func (f *faultUpdatedFile) Close() error {
	err := f.fs.check(OpClose, f.name)
	if cerr := f.inner.Close(); err == nil {
		err = cerr
	}
	return err
}

// Rule fails some calls of some kinds on some names.
type Rule struct {
	Ops Op // the kinds that match; 0 means OpMutating
	// Pattern is matched with path.Match against the last element of the name; empty matches all.
	Pattern string
	Nth     int  // the first call to fail, counting matching calls from 1; 0 means 1
	Forever bool // fail every matching call from the Nth on, not only that one
	// Err is what the call returns, for instance syscall.EIO, ENOSPC, EACCES, EROFS, EMFILE, or
	// a *ShortWrite. Nil fails nothing: such a rule only counts.
	Err error
}

func (r *Rule) matches(op Op, name string) bool {
	ops := r.Ops
	if ops == 0 {
		ops = OpMutating
	}
	if ops&op == 0 {
		return false
	}
	if r.Pattern == "" {
		return true
	}
	ok, err := path.Match(r.Pattern, path.Base(name))
	return ok && err == nil
}

// Rules is an Injector made of rules. A test that fails the first, the second, the n-th call in
// turn learns from Count how many there are.
type Rules struct {
	mu struct {
		sync.Mutex
		rules []countedRule
	}
}

type countedRule struct {
	Rule
	count int // matching calls seen
	hits  int // calls failed
}

// NewRules returns an injector that checks rules in order; the first that fails a call decides.
func NewRules(rules ...Rule) *Rules {
	r := &Rules{}
	r.Set(rules...)
	return r
}

// Set replaces the rules and starts their counts anew. Without rules nothing fails.
func (r *Rules) Set(rules ...Rule) {
	counted := make([]countedRule, len(rules))
	for i := range rules {
		counted[i].Rule = rules[i]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.rules = counted
}

// Inject implements Injector.
func (r *Rules) Inject(op Op, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var failure error
	for i := range r.mu.rules {
		rule := &r.mu.rules[i]
		if !rule.matches(op, name) {
			continue
		}
		rule.count++
		nth := max(rule.Nth, 1)
		if rule.Err != nil && (rule.count == nth || rule.Forever && rule.count > nth) {
			rule.hits++
			if failure == nil {
				failure = rule.Err
			}
		}
	}
	return failure
}

// Count returns how many calls matched the i-th rule.
func (r *Rules) Count(i int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.rules[i].count
}

// Hits returns how many calls were failed by any rule.
func (r *Rules) Hits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	hits := 0
	for i := range r.mu.rules {
		hits += r.mu.rules[i].hits
	}
	return hits
}
