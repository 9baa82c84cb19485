package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"path/filepath"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

var randomNames = []string{"a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "f", "f/a"}

// randomCall makes one call on random names below root and says how it went.
func randomCall(fsys FS, root string, r *rand.Rand) string {
	name := func() string { return path.Join(root, randomNames[r.IntN(len(randomNames))]) }
	op := Op(1) << r.IntN(9)
	var err error
	detail := ""
	switch op {
	case OpCreate:
		err = writeRandom(fsys, name(), r)
	case OpOpen:
		var b []byte
		b, err = ReadFile(fsys, name())
		detail = string(b)
	case OpRemove:
		err = fsys.Remove(name())
	case OpRename:
		err = fsys.Rename(name(), name())
	case OpLink:
		err = fsys.Link(name(), name())
	case OpMkdirAll:
		err = fsys.MkdirAll(name())
	case OpList:
		var names []string
		names, err = fsys.List(name())
		detail = fmt.Sprint(names)
	case OpSyncDir:
		dir := name()
		if _, lerr := fsys.List(dir); lerr == nil { // package os also syncs a file by this call
			err = fsys.SyncDir(dir)
		}
	case OpRemoveAll:
		err = fsys.RemoveAll(name())
	}
	return fmt.Sprintf("%v: %s, %s", op, class(err), detail)
}

func writeRandom(fsys FS, name string, r *rand.Rand) error {
	content := fmt.Sprint(r.IntN(1000))
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte(content)); err != nil {
		return err
	}
	if r.IntN(2) == 0 {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return f.Close()
}

// class is what callers may tell errors apart by.
func class(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, fs.ErrNotExist):
		return "not exist"
	case errors.Is(err, fs.ErrExist):
		return "exist"
	default:
		return "error"
	}
}

// TestMemDoesWhatOSDoes runs random histories on both and wants every call to go the same way.
func TestMemDoesWhatOSDoes(t *testing.T) {
	seed := testkit.Seed(t)
	for history := range 20 {
		root := filepath.ToSlash(t.TempDir())
		m := NewMem()
		ok(t, m.MkdirAll("root"))
		onOS, onMem := testkit.NewRand(seed+int64(history)), testkit.NewRand(seed+int64(history))
		for call := range 200 {
			want, got := randomCall(OS(), root, onOS), randomCall(m, "root", onMem)
			if got != want {
				t.Fatalf("history %d, call %d: Mem says %q, OS says %q", history, call, got, want)
			}
		}
	}
}

// TestWhatIsAllSyncedSurvivesEveryCrash syncs everything after a random history (D1).
func TestWhatIsAllSyncedSurvivesEveryCrash(t *testing.T) {
	seed := testkit.Seed(t)
	for history := range 50 {
		r := testkit.NewRand(seed + int64(history))
		m := NewMem()
		for range 100 {
			randomCall(m, ".", r)
		}
		syncAll(t, m, ".")
		want := dump(t, m)
		for _, keep := range []Keep{KeepNone, KeepRandom, KeepAll} {
			if got := dump(t, m.CrashClone(CrashOptions{KeepUnsynced: keep, Rand: r})); got != want {
				t.Fatalf("history %d, keep %d: %q, want %q", history, keep, got, want)
			}
		}
	}
}

func syncAll(t *testing.T, m *Mem, dir string) {
	t.Helper()
	for _, name := range must(m.List(dir))(t) {
		full := path.Join(dir, name)
		f, err := m.Open(full)
		if err != nil {
			syncAll(t, m, full)
			continue
		}
		ok(t, f.Sync(), f.Close())
	}
	ok(t, m.SyncDir(dir))
}
