package wire

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A batch is one message of a stream: frames of any groups, under one checksum.
//
//	 0  crc32c  u32 LE, of everything after it
//	 4  format  u8 = 2
//	 5  frames, each: length u32 LE, then that many bytes
//
// It is encoded front to back into one buffer: BeginBatch, AppendFrame for each frame, SealBatch.

const (
	batchFormat      = 2
	batchHeaderBytes = 5
	lengthBytes      = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Why bytes from a peer are refused.
var (
	ErrChecksum  = errors.New("raft batch: checksum mismatch")
	ErrMalformed = errors.New("raft batch: malformed")
)

// BeginBatch appends the header of a batch, to be filled in by SealBatch.
func BeginBatch(b []byte) []byte {
	return append(b, 0, 0, 0, 0, batchFormat)
}

// AppendFrame appends f to a batch. It needs no more than f.MaxBytes of room.
func AppendFrame(b []byte, f *Frame) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = f.append(b)
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-lengthBytes))
	return b
}

// SealBatch computes the checksum of a batch that begins at b[0].
func SealBatch(b []byte) {
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
}

// EncodeBatch is a batch of one frame, in a buffer of its own.
func EncodeBatch(f *Frame) []byte {
	b := BeginBatch(make([]byte, 0, batchHeaderBytes+f.MaxBytes()))
	b = AppendFrame(b, f)
	SealBatch(b)
	return b
}

// OpenBatch verifies a batch and returns its frames, for Next.
func OpenBatch(b []byte) (Frames, error) {
	if len(b) < batchHeaderBytes {
		return nil, ErrMalformed
	}
	if binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return nil, ErrChecksum
	}
	if b[4] != batchFormat {
		return nil, ErrMalformed
	}
	return Frames(b[batchHeaderBytes:]), nil
}

// Frames is what is left of a batch whose checksum was verified.
type Frames []byte

// Next decodes the next frame into f, whose fields alias the batch. It reports whether there was one.
func (s *Frames) Next(f *Frame) (bool, error) {
	if len(*s) == 0 {
		return false, nil
	}
	if len(*s) < lengthBytes {
		return false, ErrMalformed
	}
	length := binary.LittleEndian.Uint32(*s)
	rest := (*s)[lengthBytes:]
	if uint64(length) > uint64(len(rest)) {
		return false, ErrMalformed
	}
	*s = rest[length:]
	if err := f.decode(rest[:length:length]); err != nil {
		return false, err
	}
	return true, nil
}

// DecodeBatch decodes a batch that must hold exactly one frame.
func DecodeBatch(b []byte) (Frame, error) {
	var f Frame
	frames, err := OpenBatch(b)
	if err != nil {
		return f, err
	}
	if ok, err := frames.Next(&f); err != nil || !ok || len(frames) != 0 {
		return Frame{}, errors.Join(ErrMalformed, err)
	}
	return f, nil
}
