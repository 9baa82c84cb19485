package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
)

// conformance is what every FS must do. root is an empty directory that exists.
var conformance = []struct {
	name string
	run  func(t *testing.T, fsys FS, root string)
}{
	{"WrittenBytesAreRead", func(t *testing.T, fsys FS, root string) {
		f := must(fsys.Create(root + "/a"))(t)
		write(t, f, "hello ")
		write(t, f, "world")
		wantAt(t, f, 6, "world")
		ok(t, f.Sync(), f.Close())
		wantFile(t, fsys, root+"/a", "hello world")
	}},
	{"ReadPastTheEndIsEOF", func(t *testing.T, fsys FS, root string) {
		put(t, fsys, root+"/a", "abc")
		f := must(fsys.Open(root + "/a"))(t)
		b := make([]byte, 4)
		n, err := f.ReadAt(b, 1)
		if n != 2 || !errors.Is(err, io.EOF) {
			t.Errorf("read over the end: %d, %v", n, err)
		}
		if n, err = f.ReadAt(b, 9); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read beyond the end: %d, %v", n, err)
		}
		ok(t, f.Close())
	}},
	{"CreateTruncates", func(t *testing.T, fsys FS, root string) {
		put(t, fsys, root+"/a", "long content")
		put(t, fsys, root+"/a", "new")
		wantFile(t, fsys, root+"/a", "new")
	}},
	{"OpenedFileIsReadOnly", func(t *testing.T, fsys FS, root string) {
		put(t, fsys, root+"/a", "abc")
		f := must(fsys.Open(root + "/a"))(t)
		if _, err := f.Write([]byte("x")); err == nil {
			t.Error("wrote to a file opened for reading")
		}
		ok(t, f.Close())
	}},
	{"ClosedFileSaysSo", func(t *testing.T, fsys FS, root string) {
		f := must(fsys.Create(root + "/a"))(t)
		ok(t, f.Close())
		_, werr := f.Write([]byte("x"))
		_, rerr := f.ReadAt(make([]byte, 1), 0)
		_, serr := f.Size()
		for i, err := range []error{werr, rerr, serr, f.Sync(), f.Close()} {
			wantError(t, err, fs.ErrClosed, "call", i)
		}
	}},
	{"MissingNamesAreNotExist", func(t *testing.T, fsys FS, root string) {
		_, err := fsys.Open(root + "/none")
		wantError(t, err, fs.ErrNotExist, "open")
		_, err = fsys.Update(root + "/none")
		wantError(t, err, fs.ErrNotExist, "update")
		_, err = fsys.Create(root + "/none/a")
		wantError(t, err, fs.ErrNotExist, "create")
		_, err = fsys.List(root + "/none")
		wantError(t, err, fs.ErrNotExist, "list")
		_, err = fsys.Lock(root + "/none/lock")
		wantError(t, err, fs.ErrNotExist, "lock")
		wantError(t, fsys.Remove(root+"/none"), fs.ErrNotExist, "remove")
		wantError(t, fsys.Rename(root+"/none", root+"/b"), fs.ErrNotExist, "rename")
		wantError(t, fsys.Link(root+"/none", root+"/b"), fs.ErrNotExist, "link")
		wantError(t, fsys.SyncDir(root+"/none"), fs.ErrNotExist, "syncdir")
		ok(t, fsys.RemoveAll(root+"/none"))
	}},
	{"DirectoriesAreNotFiles", func(t *testing.T, fsys FS, root string) {
		ok(t, fsys.MkdirAll(root+"/d/e"))
		_, operr := fsys.Open(root + "/d")
		_, crerr := fsys.Create(root + "/d")
		_, uperr := fsys.Update(root + "/d")
		for i, err := range []error{operr, crerr, uperr, fsys.Remove(root + "/d"), fsys.Link(root+"/d", root+"/l")} {
			if err == nil {
				t.Errorf("call %d took a directory for a file", i)
			}
		}
	}},
	{"FilesAreNotDirectories", func(t *testing.T, fsys FS, root string) {
		put(t, fsys, root+"/a", "x")
		_, lerr := fsys.List(root + "/a")
		_, crerr := fsys.Create(root + "/a/b")
		for i, err := range []error{lerr, crerr, fsys.MkdirAll(root + "/a"), fsys.MkdirAll(root + "/a/b")} {
			if err == nil {
				t.Errorf("call %d took a file for a directory", i)
			}
		}
	}},
	{"UpdatedFileIsWrittenInPlace", func(t *testing.T, fsys FS, root string) {
		put(t, fsys, root+"/a", "hello world")
		f := must(fsys.Update(root + "/a"))(t)
		for off, s := range map[int64]string{0: "H", 6: "W", 13: "!"} {
			if n, err := f.WriteAt([]byte(s), off); n != 1 || err != nil {
				t.Fatalf("write at %d: %d, %v", off, n, err)
			}
		}
		b := make([]byte, 5)
		if _, err := f.ReadAt(b, 6); err != nil || string(b) != "World" {
			t.Errorf("read %q, %v", b, err)
		}
		size := must(f.Size())(t)
		ok(t, f.SyncData(), f.Close())
		wantFile(t, fsys, root+"/a", "Hello World\x00\x00!")
		_, werr := f.WriteAt(b, 0)
		for i, err := range []error{werr, f.SyncData(), f.Close()} {
			wantError(t, err, fs.ErrClosed, "call", i)
		}
		if size != 14 {
			t.Errorf("size %d", size)
		}
	}},
	{"RenameReplacesAndKeepsOpenFiles", func(t *testing.T, fsys FS, root string) {
		put(t, fsys, root+"/old", "old")
		put(t, fsys, root+"/new", "new")
		f := must(fsys.Open(root + "/new"))(t)
		ok(t, fsys.Rename(root+"/old", root+"/new"))
		wantAt(t, f, 0, "new")
		ok(t, f.Close())
		wantFile(t, fsys, root+"/new", "old")
		wantList(t, fsys, root, "new")
	}},
	{"RenameMovesTrees", func(t *testing.T, fsys FS, root string) {
		ok(t, fsys.MkdirAll(root+"/d/e"))
		put(t, fsys, root+"/d/e/a", "x")
		ok(t, fsys.Rename(root+"/d", root+"/moved"))
		wantFile(t, fsys, root+"/moved/e/a", "x")
		wantList(t, fsys, root, "moved")
	}},
	{"RenameRefusesWrongKinds", func(t *testing.T, fsys FS, root string) {
		ok(t, fsys.MkdirAll(root+"/d/e"))
		ok(t, fsys.MkdirAll(root+"/full/x"), fsys.MkdirAll(root+"/empty"))
		put(t, fsys, root+"/a", "x")
		for _, names := range [][2]string{{"/a", "/d"}, {"/d", "/a"}, {"/d", "/full"}, {"/d", "/empty"}, {"/d", "/d"}, {"/d", "/d/e/f"}} {
			if err := fsys.Rename(root+names[0], root+names[1]); err == nil {
				t.Errorf("rename %s to %s worked", names[0], names[1])
			}
		}
		ok(t, fsys.Rename(root+"/a", root+"/a"))
		wantList(t, fsys, root, "a", "d", "empty", "full")
	}},
	{"LinkIsTheSameFile", func(t *testing.T, fsys FS, root string) {
		put(t, fsys, root+"/a", "x")
		ok(t, fsys.Link(root+"/a", root+"/b"))
		wantError(t, fsys.Link(root+"/a", root+"/b"), fs.ErrExist, "second link")
		ok(t, fsys.Remove(root+"/a"))
		wantFile(t, fsys, root+"/b", "x")
	}},
	{"RemovedFileStaysReadableWhileOpen", func(t *testing.T, fsys FS, root string) {
		put(t, fsys, root+"/a", "x")
		f := must(fsys.Open(root + "/a"))(t)
		ok(t, fsys.Remove(root+"/a"))
		wantAt(t, f, 0, "x")
		ok(t, f.Close())
		wantList(t, fsys, root)
	}},
	{"MkdirAllAgainIsNoError", func(t *testing.T, fsys FS, root string) {
		ok(t, fsys.MkdirAll(root+"/a/b/c"), fsys.MkdirAll(root+"/a/b/c"), fsys.MkdirAll(root+"/a/b/d"), fsys.SyncDir(root+"/a/b"))
		wantList(t, fsys, root+"/a/b", "c", "d")
	}},
	{"RemoveAllRemovesTreesAndFiles", func(t *testing.T, fsys FS, root string) {
		ok(t, fsys.MkdirAll(root+"/a/b/c"))
		put(t, fsys, root+"/a/b/f", "x")
		put(t, fsys, root+"/f", "x")
		ok(t, fsys.RemoveAll(root+"/a"), fsys.RemoveAll(root+"/f"))
		wantList(t, fsys, root)
	}},
	{"LockKeepsOthersOut", func(t *testing.T, fsys FS, root string) {
		l := must(fsys.Lock(root + "/LOCK"))(t)
		_, err := fsys.Lock(root + "/LOCK")
		wantError(t, err, ErrLocked, "second lock")
		ok(t, l.Close())
		wantError(t, l.Close(), fs.ErrClosed, "second close")
		l = must(fsys.Lock(root + "/LOCK"))(t)
		ok(t, l.Close())
		wantList(t, fsys, root, "LOCK")
	}},
	{"SharedLocksKeepOneAnotherInAndOthersOut", func(t *testing.T, fsys FS, root string) {
		_, err := fsys.LockShared(root + "/LOCK")
		wantError(t, err, fs.ErrNotExist, "shared lock of a missing file")
		wantList(t, fsys, root)
		l := must(fsys.Lock(root + "/LOCK"))(t)
		_, err = fsys.LockShared(root + "/LOCK")
		wantError(t, err, ErrLocked, "shared lock beside an exclusive one")
		ok(t, l.Close())
		a, b := must(fsys.LockShared(root+"/LOCK"))(t), must(fsys.LockShared(root+"/LOCK"))(t)
		ok(t, a.Close())
		wantError(t, a.Close(), fs.ErrClosed, "second close")
		_, err = fsys.Lock(root + "/LOCK")
		wantError(t, err, ErrLocked, "exclusive lock beside a shared one")
		ok(t, b.Close())
		ok(t, must(fsys.Lock(root+"/LOCK"))(t).Close())
	}},
	{"WriteFileAtomicReplaces", func(t *testing.T, fsys FS, root string) {
		ok(t, WriteFileAtomic(fsys, root, "a", []byte("one")), WriteFileAtomic(fsys, root, "a", []byte("two")))
		wantFile(t, fsys, root+"/a", "two")
		wantList(t, fsys, root, "a")
	}},
}

func TestConformance(t *testing.T) {
	systems := map[string]func(t *testing.T) (FS, string){
		"OS": func(t *testing.T) (FS, string) { return OS(), filepath.ToSlash(t.TempDir()) },
		"Mem": func(t *testing.T) (FS, string) {
			m := NewMem()
			ok(t, m.MkdirAll("/data"))
			return m, "/data"
		},
		"FaultOverMem": func(*testing.T) (FS, string) {
			return NewFault(NewMem(), NewRules()), "."
		},
		"MemAfterCrash": func(t *testing.T) (FS, string) {
			m := NewMem()
			ok(t, m.MkdirAll("/data"))
			return m.CrashClone(CrashOptions{}), "/data"
		},
	}
	for name, open := range systems {
		for _, c := range conformance {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				fsys, root := open(t)
				c.run(t, fsys, root)
			})
		}
	}
}

func TestMemReadsCleanedNames(t *testing.T) {
	m := NewMem()
	ok(t, m.MkdirAll("a/b"))
	put(t, m, "/a/b/../b/./f", "x")
	wantFile(t, m, "a/b/f", "x")
	wantList(t, m, "/", "a")
	wantList(t, m, ".", "a")
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, errs ...error) {
	t.Helper()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

func write(t *testing.T, f File, s string) {
	t.Helper()
	if n, err := f.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// put writes a file without syncing it.
func put(t *testing.T, fsys FS, name, content string) {
	t.Helper()
	f := must(fsys.Create(name))(t)
	write(t, f, content)
	ok(t, f.Close())
}

func wantAt(t *testing.T, f File, off int64, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := f.ReadAt(b, off); err != nil || string(b) != want {
		t.Fatalf("at %d: %q, %v, want %q", off, b, err, want)
	}
}

func wantFile(t *testing.T, fsys FS, name, want string) {
	t.Helper()
	if got := must(ReadFile(fsys, name))(t); string(got) != want {
		t.Fatalf("%s holds %q, want %q", name, got, want)
	}
}

func wantList(t *testing.T, fsys FS, dir string, want ...string) {
	t.Helper()
	if got := must(fsys.List(dir))(t); !slices.Equal(got, want) {
		t.Fatalf("%s holds %q, want %q", dir, got, want)
	}
}

func wantError(t *testing.T, err, want error, what ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v: error %v, want %v", what, err, want)
	}
}
