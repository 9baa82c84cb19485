package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/s2"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Every block in a file is framed: payload | type (1) | checksum (uint32). The checksum is
// CRC32C of payload, type, offset of the block (uint64) and number of the file (uint64), so that
// a right block in a wrong place is found out too.
const frameBytes = 5

// Types of blocks.
const (
	typePlain = 0
	typeS2    = 1
)

// maxBlockBytes bounds a block before compression: one row of the largest key and value, which
// has a block of its own, or a filter or top index of the largest table.
const maxBlockBytes = 66 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// handle is the place of a block: offset and length of the payload, and its length before
// compression.
type handle struct {
	offset uint64
	stored uint32
	raw    uint32
}

func (h handle) append(b []byte) []byte {
	b = binary.AppendUvarint(b, h.offset)
	b = binary.AppendUvarint(b, uint64(h.stored))
	return binary.AppendUvarint(b, uint64(h.raw))
}

func parseHandle(b []byte) (h handle, ok bool) {
	offset, w := binary.Uvarint(b)
	if w <= 0 {
		return h, false
	}
	stored, b, ok1 := takeLength(b[w:])
	raw, b, ok2 := takeLength(b)
	return handle{offset, uint32(stored), uint32(raw)}, ok1 && ok2 && len(b) == 0
}

func frameSum(payloadAndType []byte, offset, number uint64) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], offset)
	binary.LittleEndian.PutUint64(place[8:], number)
	return crc32.Update(crc32.Checksum(payloadAndType, castagnoli), castagnoli, place[:])
}

// appendFrame frames raw at an offset of a file. Compression must save an eighth, or reading the
// block would cost more than it saves.
func appendFrame(dst, raw []byte, offset, number uint64, compress bool) ([]byte, handle) {
	start := len(dst)
	kind := byte(typePlain)
	if compress {
		dst = appendS2(dst, raw)
		if len(dst)-start <= len(raw)-len(raw)/8 {
			kind = typeS2
		} else {
			dst = dst[:start]
		}
	}
	if kind == typePlain {
		dst = append(dst, raw...)
	}
	h := handle{offset: offset, stored: uint32(len(dst) - start), raw: uint32(len(raw))}
	dst = append(dst, kind)
	return binary.LittleEndian.AppendUint32(dst, frameSum(dst[start:], offset, number)), h
}

func appendS2(dst, raw []byte) []byte {
	most := s2.MaxEncodedLen(len(raw))
	if most < 0 {
		return append(dst, raw...)
	}
	if cap(dst)-len(dst) < most {
		dst = append(make([]byte, 0, len(dst)+most), dst...)
	}
	return dst[:len(dst)+len(s2.Encode(dst[len(dst):len(dst)+most], raw))]
}

// source is an open file with what its checks need.
type source struct {
	file   vfs.File
	name   string
	number uint64
	size   int64
}

// read gives the payload of a block after all checks (B1).
func (s *source) read(h handle) ([]byte, error) {
	end := h.offset + uint64(h.stored) + frameBytes
	if h.offset > uint64(s.size) || end > uint64(s.size) || h.raw > maxBlockBytes {
		return nil, corrupt.Shape(s.name, int64(h.offset), "block handle",
			fmt.Sprintf("at most %d bytes in a file of %d", maxBlockBytes, s.size),
			fmt.Sprintf("%d bytes to %d", h.raw, end))
	}
	frame := make([]byte, h.stored+frameBytes)
	if err := s.readAt(frame, int64(h.offset)); err != nil {
		return nil, err
	}
	body := frame[:h.stored+1]
	expected := binary.LittleEndian.Uint32(frame[h.stored+1:])
	if found := frameSum(body, h.offset, s.number); found != expected && !seededbug.Enabled(seededbug.EngineSkipChecksum) {
		return nil, corrupt.Sum(s.name, int64(h.offset), "block", expected, found)
	}
	return s.unpack(body[:h.stored:h.stored], body[h.stored], h)
}

func (s *source) unpack(payload []byte, kind byte, h handle) ([]byte, error) {
	found := len(payload)
	switch kind {
	case typePlain:
		if h.raw == h.stored {
			return payload, nil
		}
	case typeS2:
		n, err := s2.DecodedLen(payload)
		if err == nil && n == int(h.raw) { // B2: allocated only now
			if raw, err := s2.Decode(make([]byte, n), payload); err == nil {
				return raw, nil
			}
		}
		found = n
	default:
		return nil, corrupt.Shape(s.name, int64(h.offset), "block type", "0 or 1", kind)
	}
	return nil, corrupt.Shape(s.name, int64(h.offset), "block length", h.raw, found)
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
