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
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], offset)
	binary.LittleEndian.PutUint64(place[8:], number)
	return crc32.Update(crc32.Checksum(payloadAndType, castagnoli), castagnoli, place[:])
}

// appendFrame frames raw, compressed by c, at an offset of a file.
func appendFrame(dst, raw []byte, offset, number uint64, c *compressor) ([]byte, handle) {
	start := len(dst)
	dst, kind := c.compress(dst, raw)
	h := handle{offset: offset, stored: uint32(len(dst) - start), raw: uint32(len(raw))}
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
	return s.open(nil, frame.bytes, h)
}

// open checks a frame and gives the block in it, decompressed or copied into dst if that has room.
func (s *source) open(dst, frame []byte, h handle) ([]byte, error) {
	body := frame[:h.stored+1]
	expected := binary.LittleEndian.Uint32(frame[h.stored+1:])
	if found := frameSum(body, h.offset, s.number); found != expected && !seededbug.Enabled(seededbug.EngineSkipChecksum) {
		return nil, corrupt.Sum(s.name, int64(h.offset), "block", expected, found)
	}
	payload, kind := body[:h.stored], body[h.stored]
	if kind > typeZstd {
		return nil, corrupt.Shape(s.name, int64(h.offset), "block type", "0, 1 or 2", kind)
	}
	if announced(payload, kind) != int(h.raw) {
		return nil, s.wrongLength(h)
	}
	if cap(dst) < int(h.raw) {
		dst = make([]byte, h.raw) // B2: allocated only now
	}
	dst = dst[:h.raw:h.raw]
	if kind == typePlain {
		copy(dst, payload)
		return dst, nil
	}
	if !unpack(dst, payload, kind) {
		return nil, s.wrongLength(h)
	}
	return dst, nil
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
