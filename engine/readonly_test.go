package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// filesOf gives the bytes of every file of a directory.
func filesOf(t testing.TB, disk vfs.FS, dir string) map[string]string {
	t.Helper()
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range names {
		b, err := vfs.ReadFile(disk, dir+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(b)
	}
	return files
}

// leftBehind makes a store with tables and a log, as a process that died leaves it.
func leftBehind(t *testing.T, seed uint64, mode LogMode) (*vfs.Mem, *model) {
	t.Helper()
	disk, m := vfs.NewMem(), newModel()
	o := small(disk)
	o.Log = mode
	db := mustOpen(t, "db", o)
	h := &history{random: rand.New(rand.NewPCG(seed, 5)), keys: 60, millis: 1000}
	for i := range 60 {
		b := h.batch(m)
		m.apply(b)
		apply(t, db, func(batch *Batch) { b.fill(batch, m.index()) })
		if i == 30 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	died := disk.KillClone()
	mustClose(t, db)
	return died, m
}

func TestAStoreOpenForReadingShowsEverythingAndChangesNothing(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	disk, m := leftBehind(t, seed, LogAlways)
	// What a crash leaves that Open for writing removes.
	for _, name := range []string{"db/000777.table", "db/MANIFEST.tmp", "db/000999.log.tmp"} {
		overwrite(t, disk, name, []byte("rest"))
	}
	before := filesOf(t, disk, "db")
	disk.OnCall(func(op vfs.Op, name string) { t.Errorf("seed %d: %v of %s", seed, op, name) })
	o := small(disk)
	o.ReadOnly = true
	db := mustOpen(t, "db", o)
	if db.Metrics().Log.Replayed == 0 {
		t.Fatal("there was no log to repeat")
	}
	m.checkAll(t, "reading only", db, MaxVersion)
	if err := db.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	b.Put([]byte("k"), []byte("v"), 0, 0)
	_, checkpoint := db.Checkpoint("copy")
	for what, err := range map[string]error{
		"Apply": db.Apply(b), "Flush": db.Flush(), "Sync": db.Sync(), "Compact": db.Compact(t.Context()), "Checkpoint": checkpoint,
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	mustClose(t, db)
	disk.OnCall(nil)
	if after := filesOf(t, disk, "db"); !maps.Equal(before, after) {
		t.Fatalf("seed %d: %v became %v", seed, slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
}

func TestManyReadAtATimeAndAWriterIsKeptOut(t *testing.T) {
	disk, _ := leftBehind(t, 1, LogOff)
	o := small(disk)
	readOnly := o
	readOnly.ReadOnly = true
	a, b := mustOpen(t, "db", readOnly), mustOpen(t, "db", readOnly)
	expectLocked(t, o)
	mustClose(t, a)
	expectLocked(t, o)
	mustClose(t, b)
	db := mustOpen(t, "db", o)
	expectLocked(t, readOnly)
	mustClose(t, db)
}

// expectLocked wants an Open that says which directory is in use.
func expectLocked(t *testing.T, o Options) {
	t.Helper()
	_, err := Open("db", o)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "db/LOCK") {
		t.Fatalf("Open of a directory in use: %v", err)
	}
}

func TestReadingOnlyNeedsAStore(t *testing.T) {
	disk := vfs.NewMem()
	o := small(disk)
	o.ReadOnly = true
	for _, dir := range []string{"none", "empty"} {
		if dir == "empty" {
			if err := disk.MkdirAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(dir, o); !errors.Is(err, ErrNoStore) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if names, err := disk.List("/"); err != nil || !slices.Equal(names, []string{"empty"}) {
		t.Fatalf("names %v, %v", names, err)
	}
}

func TestReadingOnlyOpensACheckpointThatNobodyHasOpened(t *testing.T) {
	disk := vfs.NewMem()
	db := mustOpen(t, "db", small(disk))
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
	if _, err := db.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	o := small(disk)
	o.ReadOnly = true
	db = mustOpen(t, "copy", o)
	if row, ok, err := db.Get([]byte("k"), MaxVersion); err != nil || !ok || !bytes.Equal(row.Value, []byte("v")) {
		t.Fatal(row, ok, err)
	}
	mustClose(t, db)
}

const childVariable = "LIGHTNING_ENGINE_TEST_DIR"

// TestOpenInAnotherProcess is the other process of the test below.
func TestOpenInAnotherProcess(t *testing.T) {
	dir := os.Getenv(childVariable)
	if dir == "" {
		return // it is only a helper
	}
	_, err := Open(dir, Options{})
	fmt.Printf("child: %v, %v\n", errors.Is(err, ErrLocked), err)
}

func TestTwoProcessesOnOneDirectoryAreRefused(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir, Options{})
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOpenInAnotherProcess$")
	child.Env = append(os.Environ(), childVariable+"="+dir)
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "child: true, ") || !strings.Contains(string(out), filepath.Join(dir, "LOCK")) {
		t.Fatalf("the other process says %s", out)
	}
	mustClose(t, db)
}

func TestMissingPermissionIsToldAtOnceWithThePath(t *testing.T) {
	if os.Getuid() == 0 {
		testPermissionByFault(t)
		return
	}
	dir := t.TempDir()
	mustClose(t, mustOpen(t, dir, Options{}))
	if err := os.Chmod(filepath.Join(dir, "MANIFEST"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), filepath.Join(dir, "MANIFEST")) {
		t.Fatalf("Open without permission: %v", err)
	}
}

// testPermissionByFault is for root, whom no mode keeps out.
func testPermissionByFault(t *testing.T) {
	disk, _ := leftBehind(t, 1, LogOff)
	for _, op := range []vfs.Op{vfs.OpLock, vfs.OpOpen, vfs.OpMkdirAll, vfs.OpList} {
		_, err := Open("db", small(vfs.NewFault(disk, vfs.NewRules(vfs.Rule{Ops: op, Err: fs.ErrPermission}))))
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "db") {
			t.Errorf("%v without permission: %v", op, err)
		}
	}
}

func TestAStoreOpenForReadingClosesAlsoWithAClock(t *testing.T) {
	o := small(vfs.NewMem())
	o.Clock = clock.Real{}
	db := mustOpen(t, "db", o)
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
	mustClose(t, db)
	o.ReadOnly = true
	mustClose(t, mustOpen(t, "db", o))
}
