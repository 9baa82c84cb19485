package table

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// slackBytes is how many zeros are compressed behind a value that stands apart. The decoder of S2 copies what repeats near the end of its output
// byte by byte: a value of 1 KiB whose second half is one byte took 1,160 ns without them, and 150 with.
const slackBytes = 16

// Value reads a value that stands apart: it appends it to dst, or gives memory that is shared, if the value is kept in the cache or found
// there.
func (r *Reader) Value(f *record.Far, dst []byte, keep bool) (value []byte, shared bool, err error) {
	h := handleOf(f)
	place := r.place(h)
	if b, ok := r.cache.Get(place); ok {
		return b.data, true, nil
	}
	if err := r.source.check(h); err != nil {
		return nil, false, err
	}
	frame := takeFrame(int(h.stored) + frameBytes)
	defer frame.give()
	if err := r.source.readAt(frame.bytes, int64(h.offset)); err != nil {
		return nil, false, err
	}
	if value, err = r.source.openValue(frame, h); err != nil {
		return nil, false, err
	}
	if !keep {
		return append(dst, value...), false, nil
	}
	value = bytes.Clone(value)
	r.cache.Add(place, &block{data: value}, len(value)+blockOverhead)
	return value, true, nil
}

// openValue gives the value in a frame, in the frame's own memory.
func (s *source) openValue(f *frame, h handle) ([]byte, error) {
	value, err := s.openWith(&f.place, f.value, f.bytes, h, slackBytes)
	if err == nil {
		f.value = value[:0]
	}
	return value, err
}

// valueReader reads the values of one table for one cursor, and those that come next together with them, as readAhead does for blocks.
type valueReader struct {
	reader *Reader
	keep   bool // values that were not in the cache go there, if it wants them
	singly bool // nothing is read that was not asked for

	next   uint64 // where the next frame is if the walk goes on
	missed int    // how many of the last ones came from the disk, one behind the other
	passed int    // bytes of values of the walk

	bytes []byte // of the file
	at    uint64 // where they begin
	want  int    // how many to read the next time
	place [16]byte
}

var _ record.Source = (*valueReader)(nil)

// Value implements record.Source.
func (v *valueReader) Value(f record.Far, dst []byte) (value []byte, shared bool, err error) {
	r, h := v.reader, handleOf(&f)
	if h.offset != v.next {
		v.missed, v.passed, v.want = 0, 0, minAheadBytes
	}
	v.next = h.end()
	v.passed += int(h.raw)
	place, keep := r.place(h), v.keep && h.raw >= keptBytes
	if keep {
		if b, ok := r.cache.Get(place); ok {
			v.missed = 0
			return b.data, true, nil
		}
	}
	v.missed++
	frame, err := v.frame(h)
	if err != nil {
		return nil, false, err
	}
	if value, err = r.source.openWith(&v.place, dst, frame, h, slackBytes); err != nil || !keep {
		return value, false, err
	}
	size, scanned := int(h.raw)+blockOverhead, v.passed > longValues
	if !r.cache.Wants(place, size, scanned) {
		return value, false, nil
	}
	kept := &block{data: bytes.Clone(value)}
	if scanned {
		r.cache.AddScanned(place, kept, size)
	} else {
		r.cache.Add(place, kept, size)
	}
	return value, false, nil
}

// keptBytes is from which length on walks look for values in the cache, and keep them there. Of shorter ones many are read at once, next to each
// other, and those in the cache would lie between them: reading 100 values of 1 KiB took twice as long with a fifth of them in the cache.
const keptBytes = 4 << 10

// longValues is how many bytes of values a walk goes over before it tells the cache that it is a scan: as many as longScan blocks have.
const longValues = longScan * 8 << 10

// frame gives the bytes of a frame, from those that are read already if they have it.
func (v *valueReader) frame(h handle) ([]byte, error) {
	if h.offset >= v.at && h.end() <= v.at+uint64(len(v.bytes)) {
		return v.bytes[h.offset-v.at : h.end()-v.at], nil
	}
	s := &v.reader.source
	if err := s.check(h); err != nil {
		return nil, err
	}
	end := h.end()
	if v.missed > aheadAfter && !v.singly {
		x := v.reader.index
		end = max(end, min(h.offset+uint64(v.want), x.handle(x.count-1).end()))
		v.want = min(2*v.want, maxAheadBytes)
	}
	length := int(end - h.offset)
	if cap(v.bytes) < length || cap(v.bytes) > maxPooledBytes {
		v.bytes = make([]byte, length, max(length, minAheadBytes))
	}
	v.bytes, v.at = v.bytes[:length], h.offset
	if err := s.readAt(v.bytes, int64(h.offset)); err != nil {
		v.bytes = v.bytes[:0]
		return nil, err
	}
	return v.bytes[:h.end()-h.offset], nil
}
