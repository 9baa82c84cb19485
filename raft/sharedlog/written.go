package sharedlog

import "sync/atomic"

// Written is what a log has given to the disk since it was opened.
type Written struct {
	Syncs   int64
	Records int64 // bytes of records
	Zeros   int64 // bytes of zeros that new files were filled with, ahead of the records
	// Blocks are the bytes of the file system's blocks that had changed at the syncs: what reaches the
	// disk, but for the file system's own. A block of which several syncs write a part counts for each of them.
	Blocks int64
}

// blockBytes is the least that file systems write.
const blockBytes = 4 << 10

// written counts what the segment that is written to gets. Only the writer counts; anybody may load.
type written struct {
	syncs, records, zeros, blocks atomic.Int64

	// start and end are the blocks that have changed since the last sync. Owned by the writer.
	start, end int64
}

// wrote notes that bytes of a file have changed. What changes between two syncs is one range.
func (w *written) wrote(counter *atomic.Int64, offset, n int64) {
	counter.Add(n)
	start, end := offset/blockBytes, (offset+n+blockBytes-1)/blockBytes
	if w.start < w.end {
		start, end = min(start, w.start), max(end, w.end)
	}
	w.start, w.end = start, end
}

// synced counts a sync of what was written.
func (w *written) synced() {
	w.syncs.Add(1)
	w.blocks.Add((w.end - w.start) * blockBytes)
	w.start, w.end = 0, 0
}

// header counts the header of a file, which is written and synced by itself.
func (w *written) header() {
	w.syncs.Add(1)
	w.blocks.Add(blockBytes)
}

func (w *written) load() Written {
	return Written{Syncs: w.syncs.Load(), Records: w.records.Load(), Zeros: w.zeros.Load(), Blocks: w.blocks.Load()}
}
