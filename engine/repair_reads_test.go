package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/vfs"
)

// bursts are failures of reads: count of them in a row, and again after gap ones that succeed, three times.
type bursts struct{ count, gap int }

func (b bursts) fails(read int) bool {
	period := b.count + b.gap
	return read >= 0 && read < 3*period && read%period < b.count
}

// TestARepairOfADiskThatFailsAtTimesLosesNothing fails reads of tables in bursts that begin at each read. What is lost
// is told, or Repair fails and leaves everything to another one. It ends in any case.
func TestARepairOfADiskThatFailsAtTimesLosesNothing(t *testing.T) {
	s := newStore(t, 7)
	before := tree(t, s.disk, "db")
	for _, b := range []bursts{{1, 3}, {2, 1}, {3, 2}, {3, 3}, {3, 8}, {20, 4}} {
		refused, changed := 0, 0
		for first, hits := 1, 1; hits > 0; first += min(slower, 4) {
			disk := s.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll})
			what := fmt.Sprintf("reads fail from %d on, %d of %d", first, b.count, b.count+b.gap)
			report, err := repairWith(t, what, disk, first, b, &hits)
			switch {
			case err != nil && !errors.Is(err, syscall.EIO):
				t.Fatalf("%s: %v", what, err)
			case err != nil:
				refused++
				again, err := Repair(t.Context(), "db", small(disk))
				if err != nil || again.Changed || !maps.Equal(before, tree(t, disk, "db")) {
					t.Fatalf("%s: the disk is well again, and not the store: %+v, %v", what, again, err)
				}
			case report.Changed && b.count < 3:
				t.Fatalf("%s: a read that succeeds when it is repeated changes the store: %+v", what, report)
			case report.Changed:
				changed++
				checkOriginals(t, what, before, tree(t, disk, "db"))
				checkRepaired(t, what, disk, s.model, report)
			}
		}
		t.Logf("%d failed reads of %d: %d repairs refused, %d changed the store", b.count, b.count+b.gap, refused, changed)
	}
}

// repairWith repairs a disk on which reads of tables fail from the first one on, and counts them.
func repairWith(t *testing.T, what string, disk *vfs.Mem, first int, b bursts, hits *int) (*RepairReport, error) {
	t.Helper()
	var mu sync.Mutex
	reads := 0
	*hits = 0
	o := small(vfs.NewFault(disk, vfs.InjectorFunc(func(op vfs.Op, name string) error {
		if op != vfs.OpRead || !strings.HasSuffix(name, tableSuffix) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if reads++; b.fails(reads - first) {
			*hits++
			return syscall.EIO
		}
		return nil
	})))
	type result struct {
		report *RepairReport
		err    error
	}
	done := make(chan result, 1)
	go func() {
		report, err := Repair(t.Context(), "db", o)
		done <- result{report, err}
	}()
	select {
	case r := <-done:
		return r.report, r.err
	case <-time.After(time.Minute):
		t.Fatalf("%s: the repair does not end", what)
		return nil, nil
	}
}

// TestADamagedByteCostsARepairOneBlock: what lies before the block and behind it is there (SV3).
func TestADamagedByteCostsARepairOneBlock(t *testing.T) {
	const rows, valueBytes = 2000, 100
	disk := vfs.NewMem()
	o := small(disk)
	o.Compression, o.MemtableBytes, o.TableBytes = CompressionNone, 4<<20, 4<<20
	db := mustOpen(t, "db", o)
	apply(t, db, func(b *Batch) {
		for i := range rows {
			b.Put(fmt.Appendf(nil, "key%05d", i), make([]byte, valueBytes), 0, 0)
		}
	})
	mustClose(t, db)
	for _, part := range []int{10, 3, 2} {
		damaged := disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll})
		b := readFile(t, damaged, "db/000001.table")
		b[len(b)/part] ^= 1
		overwrite(t, damaged, "db/000001.table", b)
		o := o
		o.FS = damaged
		if _, err := Repair(t.Context(), "db", o); err != nil {
			t.Fatal(err)
		}
		left := len(rowsIn(t, damaged))
		if lost := rows - left; lost == 0 || lost > 2*o.BlockBytes/valueBytes {
			t.Fatalf("%d of %d rows are lost for one byte, blocks have about %d", lost, rows, o.BlockBytes/valueBytes)
		}
	}
}

// TestARepairKeepsRangeTombstones: keys that a range deleted stay deleted, however many tables it is cut into.
func TestARepairKeepsRangeTombstones(t *testing.T) {
	for _, withManifest := range []bool{true, false} {
		disk := vfs.NewMem()
		o := small(disk)
		o.CompactCount, o.StopCount, o.MemtableBytes, o.TableBytes, o.RetainVersions = 64, 65, 1<<20, 64<<10, true
		db := mustOpen(t, "db", o)
		fill := func(what string) {
			apply(t, db, func(b *Batch) {
				for i := range 600 {
					b.Put(fmt.Appendf(nil, "%s%04d", what, i), bytes.Repeat([]byte(what), 300), 0, 0)
				}
			})
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		fill("k")
		apply(t, db, func(b *Batch) { b.DeleteRange([]byte("k0100"), []byte("k0500"), 0) })
		fill("z") // in the table of the range, to have a block that is damaged
		mustClose(t, db)
		if withManifest {
			b := readFile(t, disk, "db/000002.table")
			b[len(b)/2] ^= 1
			overwrite(t, disk, "db/000002.table", b)
		} else if err := disk.Remove("db/MANIFEST"); err != nil {
			t.Fatal(err)
		}
		report, err := Repair(t.Context(), "db", o)
		if err != nil || !report.Changed {
			t.Fatalf("%+v, %v", report, err)
		}
		db = mustOpen(t, "db", o)
		for i := range 600 {
			key := fmt.Appendf(nil, "k%04d", i)
			_, ok, err := db.Get(key, MaxVersion)
			if err != nil || ok != (i < 100 || i >= 500) {
				t.Fatalf("with a manifest %v: %s is there: %v, %v", withManifest, key, ok, err)
			}
		}
		mustClose(t, db)
	}
}
