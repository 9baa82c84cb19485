package table

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
)

// The footer is the last 136 bytes of a file, integers little-endian:
//
//	  0  index: offset (uint64), stored length (uint32), length before compression (uint32)
//	 16  filter, likewise
//	 32  properties, likewise
//	 48  range tombstones, likewise; zero without any
//	 64  three such places that are zero: for how blocks are sealed, and two more
//	112  number of the file (uint64)
//	120  format version (uint32)
//	124  CRC32C of bytes 0 to 124 (uint32)
//	128  magic (8 bytes)
const (
	footerBytes   = 136
	reservedAt    = 64
	numberAt      = 112
	magic         = "LDBtable"
	formatVersion = 2
)

type footer struct {
	index              handle // zero without rows
	filter, properties handle
	ranges             handle // zero without any
	number             uint64
}

func (f *footer) append(b []byte) []byte {
	start := len(b)
	for _, h := range []handle{f.index, f.filter, f.properties, f.ranges} {
		b = binary.LittleEndian.AppendUint64(b, h.offset)
		b = binary.LittleEndian.AppendUint32(b, h.stored)
		b = binary.LittleEndian.AppendUint32(b, h.raw)
	}
	b = append(b, make([]byte, numberAt-reservedAt)...)
	b = binary.LittleEndian.AppendUint64(b, f.number)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, magic...)
}

// parseFooter reads the footer b, which starts at an offset of a file.
func parseFooter(b []byte, name string, offset int64, number uint64) (f footer, err error) {
	if len(b) != footerBytes || string(b[128:]) != magic {
		return f, corrupt.Shape(name, offset, "footer magic", magic, "something else")
	}
	expected, found := binary.LittleEndian.Uint32(b[124:]), crc32.Checksum(b[:124], castagnoli)
	if expected != found {
		return f, corrupt.Sum(name, offset, "footer", expected, found)
	}
	if v := binary.LittleEndian.Uint32(b[120:]); v != formatVersion {
		return f, corrupt.Shape(name, offset, "format version", formatVersion, v)
	}
	if f.number = binary.LittleEndian.Uint64(b[numberAt:]); f.number != number {
		return f, corrupt.Shape(name, offset, "file number", number, f.number)
	}
	for _, reserved := range b[reservedAt:numberAt] {
		if reserved != 0 { // what it stands for must not be ignored
			return f, corrupt.Shape(name, offset, "parts of a table", "index, filter, properties and range tombstones", "one that this program does not know")
		}
	}
	for i, h := range []*handle{&f.index, &f.filter, &f.properties, &f.ranges} {
		part := b[16*i:]
		h.offset = binary.LittleEndian.Uint64(part)
		h.stored = binary.LittleEndian.Uint32(part[8:])
		h.raw = binary.LittleEndian.Uint32(part[12:])
	}
	return f, nil
}
