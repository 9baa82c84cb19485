package api

import (
	"hash/crc32"

	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// ChunkSender makes the chunks of one value, in order. The zero value is ready.
type ChunkSender struct{ sum uint32 }

// Chunk is the next piece of the value, which aliases data.
func (s *ChunkSender) Chunk(data []byte, last bool) *pb.Chunk {
	s.sum = crc32.Update(s.sum, partTable, data)
	return &pb.Chunk{Data: data, Crc32C: s.sum, Last: last}
}

// ChunkReceiver checks the chunks of one value, in order. The zero value is ready.
type ChunkReceiver struct {
	sum   uint32
	bytes uint64
	done  bool
}

// Take checks the next chunk. It fails with CodeInvalid if the sender breaks the rules, with
// CodeTooLarge when the value has more than MaxValueBytes, and with CodeUnavailable if what came is not
// what was sent.
func (r *ChunkReceiver) Take(c *pb.Chunk) *Error {
	data := c.GetData()
	switch {
	case c == nil:
		return Errorf(CodeInvalid, "a message without a chunk, where one is expected")
	case r.done:
		return Errorf(CodeInvalid, "a chunk after the last one")
	case len(data) > MaxChunkBytes:
		return Errorf(CodeInvalid, "a chunk of %d bytes is over the limit of %d", len(data), MaxChunkBytes)
	case len(data) == 0 && !c.GetLast():
		return Errorf(CodeInvalid, "a chunk without data that is not the last one")
	case r.bytes+uint64(len(data)) > MaxValueBytes:
		return Errorf(CodeTooLarge, "a value of more than %d bytes, which is the limit", MaxValueBytes)
	}
	r.sum = crc32.Update(r.sum, partTable, data)
	r.bytes += uint64(len(data))
	if r.sum != c.GetCrc32C() {
		return Errorf(CodeUnavailable, "a value was damaged on its way: after %d bytes its checksum is %08x, and %08x was sent", r.bytes, r.sum, c.GetCrc32C())
	}
	r.done = c.GetLast()
	return nil
}

// Bytes is how much of the value has come.
func (r *ChunkReceiver) Bytes() uint64 { return r.bytes }

// Done reports whether all of the value has come.
func (r *ChunkReceiver) Done() bool { return r.done }
