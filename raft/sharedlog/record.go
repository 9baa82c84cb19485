package sharedlog

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/lightning-db/lightning/internal/seededbug"
)

// A record is a header and a payload, padded with zeros to a multiple of alignment:
//
//	 0  u32  CRC32C of the file UUID, the offset of the record (u64) and bytes 4 to 64
//	 4  u32  CRC32C of the payload
//	 8  u64  segment id
//	16  u32  length of the payload
//	20  u32  distance from the start of the batch
//	24  u8   kind
//	25  u8   type of the entry
//	26  6 B  zero
//	32  u64  group
//	40  u64  incarnation
//	48  u64  index
//	56  u64  term
//
// The header is sealed apart from the payload so that a damaged payload still says whose it is.
const (
	headerBytes = 64
	alignment   = 8
	// maxPayloadBytes is beyond every segment.
	maxPayloadBytes = 1 << 30
)

// kind is what a record says.
type kind uint8

const (
	kindEntry     kind = 1 + iota // the entry at index; also an older one that was carried forward
	kindCutSuffix                 // the entries from index on are gone
	kindCutPrefix                 // the entries up to index are gone
	kindStable                    // a key and its value
	kindCreate                    // the replica exists
	kindDrop                      // the replica is gone for good
	kindOldest                    // the segments before the sequence in index are not needed
	kindSeal                      // goes on in the segment of sequence index and id term
	kindEnd                       // closed: everything before is complete
	kindCount
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is what a header says, and the payload.
type record struct {
	kind        kind
	entryType   uint8
	group       uint64
	incarnation uint64
	index, term uint64
	payload     []byte
}

// header is a record as it was found.
type header struct {
	record          // without its payload
	length   uint32 // of the payload
	checksum uint32 // of the payload
	batch    int64  // offset at which its batch starts
}

// recordBytes is how much a record with such a payload takes.
func recordBytes(payload int) int64 {
	return (int64(headerBytes+payload) + alignment - 1) &^ (alignment - 1)
}

// identity is what makes the records of one life of a file valid in no other.
type identity struct {
	id   uint64
	uuid [16]byte
}

// seal is the checksum of a header at offset.
func (s *identity) seal(offset int64, h []byte) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(offset))
	sum := crc32.Update(0, castagnoli, s.uuid[:])
	if seededbug.Enabled(seededbug.LogChecksumWithoutSegment) {
		sum = 0
	}
	sum = crc32.Update(sum, castagnoli, at[:])
	if seededbug.Enabled(seededbug.LogChecksumWithoutSegment) {
		return crc32.Update(crc32.Update(sum, castagnoli, h[4:8]), castagnoli, h[16:headerBytes])
	}
	return crc32.Update(sum, castagnoli, h[4:headerBytes])
}

// appendRecord encodes r as the record at offset of a batch that starts at batch.
func (s *identity) appendRecord(b []byte, offset, batch int64, r *record) []byte {
	start := len(b)
	b = append(b, make([]byte, headerBytes)...)
	h := b[start:]
	binary.LittleEndian.PutUint32(h[4:], crc32.Checksum(r.payload, castagnoli))
	binary.LittleEndian.PutUint64(h[8:], s.id)
	binary.LittleEndian.PutUint32(h[16:], uint32(len(r.payload)))
	binary.LittleEndian.PutUint32(h[20:], uint32(offset-batch))
	h[24], h[25] = byte(r.kind), r.entryType
	binary.LittleEndian.PutUint64(h[32:], r.group)
	binary.LittleEndian.PutUint64(h[40:], r.incarnation)
	binary.LittleEndian.PutUint64(h[48:], r.index)
	binary.LittleEndian.PutUint64(h[56:], r.term)
	binary.LittleEndian.PutUint32(h[0:], s.seal(offset, h))
	b = append(b, r.payload...)
	return append(b, make([]byte, int(recordBytes(len(r.payload)))-headerBytes-len(r.payload))...)
}

// decodeHeader reads the header of a record of this identity at offset; false if there is none.
// b has at least headerBytes; limit is the length of the file.
func (s *identity) decodeHeader(b []byte, offset, limit int64) (h header, ok bool) {
	b = b[:headerBytes]
	h.length = binary.LittleEndian.Uint32(b[16:])
	distance := int64(binary.LittleEndian.Uint32(b[20:]))
	h.kind = kind(b[24])
	// The cheap checks come first: recovery tries every place in what may be old records.
	if binary.LittleEndian.Uint64(b[8:]) != s.id && !seededbug.Enabled(seededbug.LogChecksumWithoutSegment) {
		return h, false
	}
	if h.kind == 0 || h.length > maxPayloadBytes || distance > offset-dataStart || offset+recordBytes(int(h.length)) > limit {
		return h, false
	}
	if binary.LittleEndian.Uint32(b) != s.seal(offset, b) {
		return h, false
	}
	h.checksum = binary.LittleEndian.Uint32(b[4:])
	h.batch = offset - distance
	h.entryType = b[25]
	h.group = binary.LittleEndian.Uint64(b[32:])
	h.incarnation = binary.LittleEndian.Uint64(b[40:])
	h.index = binary.LittleEndian.Uint64(b[48:])
	h.term = binary.LittleEndian.Uint64(b[56:])
	return h, true
}

// stablePayload is the payload of kindStable: the length of the key (u16), the key, the value.
func stablePayload(b []byte, key string, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, key...)
	return append(b, value...)
}

// splitStable takes such a payload apart; false if it is none.
func splitStable(b []byte) (key string, value []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.LittleEndian.Uint16(b))
	if len(b)-2 < n {
		return "", nil, false
	}
	return string(b[2 : 2+n]), b[2+n:], true
}
