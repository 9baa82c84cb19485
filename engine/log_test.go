package engine

import (
	"fmt"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

var logModes = map[string]LogMode{"always": LogAlways, "interval": LogInterval, "never": LogNever}

// logged are small options with a log, whose segments hold a few batches.
func logged(fs vfs.FS, mode LogMode) Options {
	o := small(fs)
	o.Log, o.LogSegmentBytes = mode, 64<<10
	return o
}

// afterKill is the disk as it is when only the process dies.
func afterKill(disk *vfs.Mem) *vfs.Mem {
	return disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll})
}

// afterPowerCut is the disk when the machine dies and nothing was written that was not synced.
func afterPowerCut(disk *vfs.Mem) *vfs.Mem { return disk.CrashClone(vfs.CrashOptions{}) }

func TestABatchIsDurableWhenItsModeSays(t *testing.T) {
	for name, mode := range logModes {
		disk := vfs.NewMem()
		db := mustOpen(t, "db", logged(disk, mode))
		for i := range 10 {
			apply(t, db, func(b *Batch) {
				b.Put(fmt.Appendf(nil, "k%d", i), []byte("v"), 0, 0)
				b.SetPosition(Position{Index: uint64(i + 1), Term: 3})
			})
		}
		reopened := func(disk *vfs.Mem, least uint64) {
			t.Helper()
			again := mustOpen(t, "db", logged(disk, mode))
			if p := again.Applied(); p.Index < least || p != again.Durable() {
				t.Fatalf("%s: reopened at %v, want %d or more; durable %v", name, p, least, again.Durable())
			}
			mustClose(t, again)
		}
		if mode != LogInterval {
			reopened(afterKill(disk), 10)
		}
		if mode == LogAlways {
			reopened(afterPowerCut(disk), 10)
		}
		if err := db.Sync(); err != nil {
			t.Fatal(err)
		}
		reopened(afterPowerCut(disk), 10)
		if db.Durable().Index != 10 {
			t.Fatalf("%s: durable %v after Sync", name, db.Durable())
		}
		mustClose(t, db)
	}
}
