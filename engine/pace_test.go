package engine

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lightning-db/lightning/internal/vfs"
)

func TestAWriterHasAllOfAMemtableUntilTwoAreSealed(t *testing.T) {
	for _, c := range []struct {
		sealed  int
		flushed float64
		want    int
	}{{0, 0, 800}, {1, 0.5, 800}, {2, 0, 100}, {2, 0.5, 500}, {2, 0.875, 800}, {2, 1, 800}} {
		p := pace{flushed: c.flushed}
		if got := p.memoryBytes(c.sealed, 800); got != c.want {
			t.Errorf("%d sealed, %.3f written: %d bytes, want %d", c.sealed, c.flushed, got, c.want)
		}
	}
}

func TestAFlushGoesOnWithTheCompactionThatItIsAheadOf(t *testing.T) {
	const stop = 12
	for _, c := range []struct {
		what      string
		began     int // tables of level 0 at the beginning of the compaction
		ofZero    bool
		compacted float64
		tables    int
		part      float64
		want      bool
	}{
		{"the first tables of a compaction are free", 8, true, 0, 9, 0.9, true},
		{"then the compaction must go on", 8, true, 0, 10, 0.1, false},
		{"half of it is half of what is left", 8, true, 0.5, 10, 0.9, true},
		{"and no more", 8, true, 0.5, 11, 0.1, false},
		{"all is not free where little is left", 10, true, 0, 11, 0.1, false},
		{"at its end a flush that has begun can end", 11, true, 1, 11, 1, true},
		{"a deeper one leaves half for the next", 8, false, 1, 9, 1, true},
		{"and no more", 8, false, 1, 10, 0.1, false},
	} {
		p := &pace{}
		if !p.mayFlush(stop, 0.5) {
			t.Errorf("%s: a flush waits although nothing is compacted", c.what)
		}
		p.begin(c.began, stop, c.ofZero)
		p.compacted = c.compacted
		if got := p.mayFlush(c.tables, c.part); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// gate is a disk whose writes to tables wait for a permit each, once it is closed.
type gate struct {
	vfs.FS
	closed  atomic.Bool
	permits chan struct{}
}

type gatedFile struct {
	vfs.File
	gate *gate
}

func (g *gate) Create(name string) (vfs.File, error) {
	f, err := g.FS.Create(name)
	if err == nil && strings.HasSuffix(name, tableSuffix) {
		f = &gatedFile{f, g}
	}
	return f, err
}

func (f *gatedFile) Write(b []byte) (int, error) {
	if f.gate.closed.Load() {
		<-f.gate.permits
	}
	return f.File.Write(b)
}

// A flush of 2 MiB is eight writes. With each of them a writer that is ahead gets on.
func TestAWriterAheadOfTheDiskGoesOnWithEachPieceOfAFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &gate{FS: vfs.NewMem(), permits: make(chan struct{})}
		db := mustOpen(t, "db", Options{FS: disk, MemtableBytes: 2 << 20, CompactCount: 40, StopCount: 50})
		disk.closed.Store(true)
		var applied atomic.Int64
		done := make(chan error, 1)
		const rows = 40_000
		go func() {
			value := make([]byte, 200)
			for i := range rows {
				b := db.NewBatch()
				fillNoise(value, uint64(i))
				b.Put(fmt.Appendf(nil, "key%06d", i), value, 0, 0)
				if err := db.Apply(b); err != nil {
					done <- err
					return
				}
				applied.Store(int64(i + 1))
			}
			done <- nil
		}()
		synctest.Wait()
		steps, last := 0, applied.Load()
		for range 14 { // two flushes, but for their last writes
			disk.permits <- struct{}{}
			synctest.Wait()
			if now := applied.Load(); now > last {
				steps, last = steps+1, now
			}
		}
		if steps < 10 {
			t.Errorf("the writer went on after %d of 14 writes", steps)
		}
		if db.Metrics().Stalls < 10 {
			t.Errorf("%d stalls are counted", db.Metrics().Stalls)
		}
		disk.closed.Store(false)
		close(disk.permits)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
	})
}

// fillNoise makes a value that does not compress.
func fillNoise(value []byte, seed uint64) {
	for i := range value {
		seed ^= seed<<13 + 1
		seed ^= seed >> 7
		seed ^= seed << 17
		value[i] = byte(seed >> 24)
	}
}
