package sharedlog

import (
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestTheLogCountsWhatItWrites: a block of which each of two syncs writes a part counts twice.
func TestTheLogCountsWhatItWrites(t *testing.T) {
	o := smallOptions(vfs.NewMem(), 1)
	o.SegmentBytes, o.MaxBytes = 1<<20, 4<<20
	l := mustOpen(t, o)
	defer l.Close()
	v := mustView(t, l, key{1, 1})
	before := l.Usage().Written
	const record, zeros = headerBytes + 104, 1<<20 - dataStart
	if want := (Written{Syncs: 2, Records: headerBytes, Zeros: zeros, Blocks: dataStart + zeros}); before != want {
		t.Errorf("a log with one replica has written %+v, want %+v", before, want)
	}
	for i := range uint64(30) {
		store(t, v, 1, i+1, i+1, 100)
	}
	after := l.Usage().Written
	after.Syncs, after.Records, after.Blocks = after.Syncs-before.Syncs, after.Records-before.Records, after.Blocks-before.Blocks
	// 64 bytes and 24 records fill one block but for 0 bytes: 64 + 24*168 = 4096.
	if want := (Written{Syncs: 30, Records: 30 * record, Zeros: zeros, Blocks: 30 * blockBytes}); after != want {
		t.Errorf("30 entries have written %+v more, want %+v", after, want)
	}
}

// TestAFileThatIsUsedAgainGetsNoZeros: it has its length.
func TestAFileThatIsUsedAgainGetsNoZeros(t *testing.T) {
	l := mustOpen(t, smallOptions(vfs.NewMem(), 1))
	defer l.Close()
	v := mustView(t, l, key{1, 1})
	for i := range uint64(400) {
		store(t, v, 1, i+1, i+1, 200)
	}
	if err := v.DeleteRange(1, 399); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() bool { return l.Usage().Free == maxFree }, "nothing is free: %+v", l.Usage())
	before := l.Usage()
	for i := uint64(400); l.Usage().Free > 0; i++ {
		store(t, v, 1, i+1, i+1, 200)
	}
	if after := l.Usage().Written; after.Zeros != before.Written.Zeros {
		t.Errorf("%d bytes of zeros were written to files that had been used", after.Zeros-before.Written.Zeros)
	}
}
