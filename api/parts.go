package api

import (
	"encoding/binary"
	"hash/crc32"
)

// Parts names a value that is not in one piece: the parts of it that a shard holds, each under a
// number of its own, one behind the other. Parts never change.
type Parts struct {
	// ID is that of a set of parts, chosen by the shard; 0 in a request, whose own parts are meant.
	ID Version
	// First is the number of the first part, and Count how many there are. All but the last have
	// MaxPartBytes.
	First, Count uint32
	// Bytes is the length of the value.
	Bytes uint64
	// Checksum is that of the parts' checksums, see PartsOf.
	Checksum uint32
}

// Stored is a value in parts as a read found it. It can be read as long as the shard keeps what was
// there at the time of the read, whatever becomes of its key.
type Stored struct {
	Parts
	Shard ShardID
	// At is the time of the read.
	At Version
}

// PartCount is how many parts a value of so many bytes has.
func PartCount(bytes uint64) uint32 { return uint32((bytes + MaxPartBytes - 1) / MaxPartBytes) }

// PartBytes is the length of the n-th part of p.
func (p *Parts) PartBytes(n uint32) int {
	return int(min(MaxPartBytes, p.Bytes-uint64(n)*MaxPartBytes))
}

// Part is the n-th part of a value, which it aliases.
func Part(value []byte, n uint32) []byte {
	start := int(n) * MaxPartBytes
	return value[start:min(start+MaxPartBytes, len(value))]
}

var partTable = crc32.MakeTable(crc32.Castagnoli)

// PartSum is the CRC32C of one part.
func PartSum(part []byte) uint32 { return crc32.Checksum(part, partTable) }

// AddPartSum takes the checksum of one more part into that of the value. The first one begins with 0.
func AddPartSum(sum, part uint32) uint32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], part)
	return crc32.Update(sum, partTable, b[:])
}

// PartsOf describes a value that has the parts from first on.
func PartsOf(value []byte, first uint32) *Parts {
	p := &Parts{First: first, Count: PartCount(uint64(len(value))), Bytes: uint64(len(value))}
	for n := range p.Count {
		p.Checksum = AddPartSum(p.Checksum, PartSum(Part(value, n)))
	}
	return p
}
