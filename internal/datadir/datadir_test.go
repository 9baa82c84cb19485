package datadir

import (
	"errors"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

const testDir = "/data"

func mustOpen(t *testing.T, fsys vfs.FS) api.NodeID {
	t.Helper()
	id, lock, err := Open(fsys, testDir, entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	return id
}

func TestNodeIDIsWrittenOnceAndSurvivesEveryCrash(t *testing.T) { // N1
	random := testkit.Rand(t)
	disk := vfs.NewMem()
	var clones []*vfs.Mem
	disk.OnCall(func(vfs.Op, string) {
		clones = append(clones, disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepRandom, Rand: random}))
	})
	id := mustOpen(t, disk)
	disk.OnCall(nil)
	if len(clones) < 4 {
		t.Fatalf("only %d crash points", len(clones))
	}
	for i, clone := range clones {
		// A crash before the identity was complete may give another one, but never none, and the
		// same from then on.
		if first, second := mustOpen(t, clone), mustOpen(t, clone); first != second {
			t.Errorf("crash point %d: the id changed from %s to %s", i, first, second)
		}
	}
	if again := mustOpen(t, disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepRandom, Rand: random})); again != id {
		t.Errorf("after a crash the id is %s, was %s", again, id)
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) { // N2
	disk := vfs.NewMem()
	if err := disk.MkdirAll(testDir + "/shards"); err != nil {
		t.Fatal(err)
	}
	_, _, err := Open(disk, testDir, entropy.System())
	if err == nil {
		t.Fatalf("got %v", err)
	}
}

func TestDamagedIdentityIsNotReplaced(t *testing.T) { // N1
	disk := vfs.NewMem()
	mustOpen(t, disk)
	for _, content := range []string{"", "{", `{"format":2,"node_id":"x"}`, `{"format":1}`} {
		if err := vfs.WriteFileAtomic(disk, testDir, identityFile, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(disk, testDir, entropy.System()); err == nil {
			t.Errorf("%q: got %v", content, err)
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	disk := vfs.NewMem()
	_, lock, err := Open(disk, testDir, entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, _, err := Open(disk, testDir, entropy.System()); !errors.Is(err, vfs.ErrLocked) {
		t.Fatalf("got %v", err)
	}
}

// TestADirectoryThatIsBeingRecoveredIsRefused (N8), and OpenStopped makes nothing.
func TestADirectoryThatIsBeingRecoveredIsRefused(t *testing.T) {
	disk := vfs.NewMem()
	if _, _, err := OpenStopped(disk, testDir); !vfs.IsNotExist(err) {
		t.Fatalf("a directory that is not there: %v", err)
	}
	id := mustOpen(t, disk)
	if err := vfs.WriteFileAtomic(disk, testDir, RecoveryFile, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(disk, testDir, entropy.System()); !errors.Is(err, ErrRecovering) {
		t.Fatalf("a node starts on it: %v", err)
	}
	stopped, lock, err := OpenStopped(disk, testDir)
	if err != nil || stopped != id {
		t.Fatalf("%s, %v", stopped, err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}
