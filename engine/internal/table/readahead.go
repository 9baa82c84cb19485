package table

import "github.com/lightning-db/lightning/engine/internal/record"

const (
	// aheadAfter is how many blocks in a row a cursor reads from the disk one by one.
	aheadAfter = 2

	// minAheadBytes and maxAheadBytes bound what is read at once then; it doubles from one to the other. A call that reads
	// 256 KiB costs a row 1 ns, and one that reads a block 20 ns.
	minAheadBytes = 32 << 10
	maxAheadBytes = 256 << 10

	// longScan is how many blocks in a row a cursor reads before it tells the cache that it is a scan: blocks that one scan reads
	// once must not push out those that many reads share.
	longScan = 16
)

// readAhead gets the blocks of one cursor. Who goes through a table has the next ones read together, and those that are
// not kept take no memory of their own.
type readAhead struct {
	next   int // the block that comes next if the walk goes on
	run    int // how many blocks the walk has gone over
	missed int // how many of the last ones came from the disk, without one between them that did not

	singly bool // nothing is read that was not asked for

	bytes []byte // of the file
	at    uint64 // where they begin
	want  int    // how many to read the next time

	block1 block  // one that is not kept
	raw    []byte // its bytes
}

// reset is for another table. Memory is kept for it, but for that of frames which are larger than usual.
func (a *readAhead) reset() {
	a.next, a.run, a.missed, a.bytes, a.want = -1, 0, 0, a.bytes[:0], minAheadBytes
	if cap(a.bytes) > maxPooledBytes {
		a.bytes = nil
	}
	a.block1 = block{}
}

// block gives a block of a table.
func (a *readAhead) block(r *Reader, n int, keep bool, d record.Direction) (*block, error) {
	if n != a.next {
		a.run, a.missed, a.want = 0, 0, minAheadBytes
	}
	a.run++
	a.next = n + 1
	if d == record.Backward {
		a.next = n - 1
	}
	h := r.index.handle(n)
	place := r.place(h)
	if b, ok := r.cache.Get(place); ok {
		a.missed, a.want = 0, minAheadBytes // the next ones may be in the cache, too
		return b, nil
	}
	a.missed++
	frame, err := a.frame(r, n, h, d)
	if err != nil {
		return nil, err
	}
	if !keep {
		return a.passing(r, n, h, frame)
	}
	raw, err := r.source.open(nil, frame, h)
	if err != nil {
		return nil, err
	}
	b := new(block)
	if err := r.parse(b, raw, n); err != nil {
		return nil, err
	}
	if a.run > longScan {
		r.cache.AddScanned(place, b, len(raw)+blockOverhead)
	} else {
		r.cache.Add(place, b, len(raw)+blockOverhead)
	}
	return b, nil
}

// passing makes a block in memory that the next one is made in, too.
func (a *readAhead) passing(r *Reader, n int, h handle, frame []byte) (*block, error) {
	raw, err := r.source.open(a.raw, frame, h)
	if err != nil {
		return nil, err
	}
	if cap(raw) <= maxPooledBytes {
		a.raw = raw
	}
	if err := r.parse(&a.block1, raw, n); err != nil {
		return nil, err
	}
	return &a.block1, nil
}

// frame gives the bytes of a frame, from those that are read already if they have it.
func (a *readAhead) frame(r *Reader, n int, h handle, d record.Direction) ([]byte, error) {
	if h.offset >= a.at && h.end() <= a.at+uint64(len(a.bytes)) {
		return a.bytes[h.offset-a.at : h.end()-a.at], nil
	}
	if err := r.source.check(h); err != nil {
		return nil, err
	}
	end := h.end()
	// Blocks whose values stand apart are not behind each other.
	if a.missed > aheadAfter && d == record.Forward && !a.singly && r.index.fars.get(r.index.data, n) == 0 {
		end = max(end, min(h.offset+uint64(a.want), r.index.handle(r.index.count-1).end()))
		a.want = min(2*a.want, maxAheadBytes)
	}
	length := int(end - h.offset)
	if cap(a.bytes) < length || cap(a.bytes) > maxPooledBytes {
		a.bytes = make([]byte, length)
	}
	a.bytes, a.at = a.bytes[:length], h.offset
	if err := r.source.readAt(a.bytes, int64(h.offset)); err != nil {
		a.bytes = a.bytes[:0]
		return nil, err
	}
	return a.bytes[:h.end()-h.offset], nil
}
