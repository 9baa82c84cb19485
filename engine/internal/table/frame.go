package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Every block in a file is framed: payload | type (1) | checksum (uint32). The checksum is
// CRC32C of payload, type, offset of the block (uint64) and number of the file (uint64), so that
// a right block in a wrong place is found out too.
const frameBytes = 5

// maxBlockBytes bounds a block before compression: one row of the largest key and value, which
// has a block of its own, or a filter or index of the largest table.
const maxBlockBytes = 66 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// handle is the place of a block: offset and length of the payload, and its length before
// compression.
type handle struct {
	offset uint64
	stored uint32
	raw    uint32
}

// end is where the next frame begins.
func (h handle) end() uint64 { return h.offset + uint64(h.stored) + frameBytes }

func frameSum(payloadAndType []byte, offset, number uint64) uint32 {
	return sumWith(new([16]byte), payloadAndType, offset, number)
}

// sumWith is frameSum with memory for the place, which would be allocated each time, as the library's function is called by a pointer.
func sumWith(place *[16]byte, payloadAndType []byte, offset, number uint64) uint32 {
	binary.LittleEndian.PutUint64(place[:], offset)
	binary.LittleEndian.PutUint64(place[8:], number)
	return crc32.Update(crc32.Checksum(payloadAndType, castagnoli), castagnoli, place[:])
}

// appendFrame frames raw, compressed by c, at an offset of a file.
func appendFrame(dst, raw []byte, offset, number uint64, c *compressor) ([]byte, handle) {
	start := len(dst)
	dst, kind := c.compress(dst, raw)
	dst, h := endFrame(dst, start, kind, offset, number)
	h.raw = uint32(len(raw))
	return dst, h
}

// endFrame completes a frame whose payload begins at a place of dst.
func endFrame(dst []byte, start int, kind byte, offset, number uint64) ([]byte, handle) {
	h := handle{offset: offset, stored: uint32(len(dst) - start)}
	dst = append(dst, kind)
	return binary.LittleEndian.AppendUint32(dst, frameSum(dst[start:], offset, number)), h
}

// source is an open file with what its checks need.
type source struct {
	file   vfs.File
	name   string
	number uint64
	size   int64
}

// check makes sure that a block can be where its handle says.
func (s *source) check(h handle) error { return s.checkUpTo(h, maxBlockBytes) }

func (s *source) checkUpTo(h handle, limit uint32) error {
	if h.offset > uint64(s.size) || h.end() > uint64(s.size) || h.raw > limit {
		return corrupt.Shape(s.name, int64(h.offset), "block handle",
			fmt.Sprintf("at most %d bytes in a file of %d", limit, s.size),
			fmt.Sprintf("%d bytes to %d", h.raw, h.end()))
	}
	return nil
}

// read gives a block after all checks (B1), in memory of its own.
func (s *source) read(h handle) ([]byte, error) { return s.readUpTo(h, maxBlockBytes) }

func (s *source) readUpTo(h handle, limit uint32) ([]byte, error) {
	if err := s.checkUpTo(h, limit); err != nil {
		return nil, err
	}
	frame := takeFrame(int(h.stored) + frameBytes)
	defer frame.give()
	if err := s.readAt(frame.bytes, int64(h.offset)); err != nil {
		return nil, err
	}
	return s.openWith(&frame.place, nil, frame.bytes, h, 0)
}

// open checks a frame and gives the block in it, decompressed or copied into dst if that has room.
func (s *source) open(dst, frame []byte, h handle) ([]byte, error) {
	return s.openWith(new([16]byte), dst, frame, h, 0)
}

// openWith is open of a frame whose payload, if it is compressed, stands for some bytes more than are asked for.
func (s *source) openWith(place *[16]byte, dst, frame []byte, h handle, slack int) ([]byte, error) {
	body := frame[:h.stored+1]
	expected := binary.LittleEndian.Uint32(frame[h.stored+1:])
	if found := sumWith(place, body, h.offset, s.number); found != expected && !seededbug.Enabled(seededbug.EngineSkipChecksum) {
		return nil, corrupt.Sum(s.name, int64(h.offset), "block", expected, found)
	}
	payload, kind := body[:h.stored], body[h.stored]
	if kind > typeZstd {
		return nil, corrupt.Shape(s.name, int64(h.offset), "block type", "0, 1 or 2", kind)
	}
	if kind == typePlain {
		slack = 0
	}
	length := int(h.raw) + slack
	if announced(payload, kind) != length {
		return nil, s.wrongLength(h)
	}
	if cap(dst) < length {
		dst = make([]byte, length) // B2: allocated only now
	}
	dst = dst[:length:length]
	if kind == typePlain {
		copy(dst, payload)
	} else if !unpack(dst, payload, kind) {
		return nil, s.wrongLength(h)
	}
	return dst[:h.raw], nil
}

func (s *source) wrongLength(h handle) error {
	return corrupt.Shape(s.name, int64(h.offset), "block length", h.raw, "a payload of another")
}

// readAt fills b. A file that ends too soon is damage, any other failure is the disk's.
func (s *source) readAt(b []byte, offset int64) error {
	n, err := s.file.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return corrupt.Shape(s.name, offset, "bytes in file", len(b), n)
	}
	return fmt.Errorf("read %s at %d: %w", s.name, offset, err)
}
