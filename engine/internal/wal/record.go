package wal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/lightning-db/lightning/internal/seededbug"
)

// A record is a header and a payload, padded with zeros to a multiple of alignment:
//
//	 0  u32  CRC32C of: segment id, offset of the record in the file (u32), bytes 4 to the end of the payload
//	 4  u32  length of the payload
//	 8  u64  number of the batch, or of the segment that a seal names
//	16  u32  offset up to which the segment was durable when the record was written
//	20  u24  the first bytes of the segment id
//	23  u8   kind
const (
	headerBytes = 24
	alignment   = 8
	// maxPayloadBytes is above every batch: 128 MiB of keys and values with what goes with them.
	maxPayloadBytes = 1 << 30
)

// kind is what a record says.
type kind uint8

const (
	kindBatch kind = 1 // a batch; the payload is docs/formats/wal.md's
	kindSeal  kind = 2 // the log goes on in the segment of that number
)

// recordBytes is how much a record with such a payload takes.
func recordBytes(payload int) int64 {
	return (int64(headerBytes+payload) + alignment - 1) &^ (alignment - 1)
}

// sealBytes at the end of a segment are kept for the seal.
const sealBytes = headerBytes

// appendHeader begins a record; finish ends it, and stamp makes it valid.
func appendHeader(b []byte, k kind, number uint64) []byte {
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, number)
	return append(b, 0, 0, 0, 0, 0, 0, 0, byte(k))
}

// finish completes the record that begins at start and ends with b.
func finish(b []byte, start int) []byte {
	payload := len(b) - start - headerBytes
	binary.LittleEndian.PutUint32(b[start+4:], uint32(payload))
	return append(b, make([]byte, int(recordBytes(payload))-headerBytes-payload)...)
}

// stamp makes the records in b, which go to offset of the segment, valid there. durable is how far the segment is durable:
// it is what proves, when one of these records is read, that everything before must be whole (WL3).
func (id *identity) stamp(b []byte, offset, durable int64) {
	for len(b) > 0 {
		payload := int(binary.LittleEndian.Uint32(b[4:]))
		binary.LittleEndian.PutUint32(b[16:], uint32(durable))
		copy(b[20:23], id[:])
		binary.LittleEndian.PutUint32(b, uint32(offset)) // where the checksum will be, as it covers that, too
		binary.LittleEndian.PutUint32(b, id.sum(b[:4], b[4:headerBytes+payload]))
		size := recordBytes(payload)
		b, offset = b[size:], offset+size
	}
}

// sum is the checksum of a record, without the field for it, at an offset.
func (id *identity) sum(offset, rest []byte) uint32 {
	if seededbug.Enabled(seededbug.EngineLogChecksumWithoutSegment) {
		return crc32.Update(crc32.Checksum(rest[:16], castagnoli), castagnoli, rest[19:])
	}
	return crc32.Update(crc32.Update(crc32.Checksum(id[:], castagnoli), castagnoli, offset), castagnoli, rest)
}

// record is one that was found.
type record struct {
	kind    kind
	number  uint64
	offset  int64
	durable int64
	payload []byte
}

func (r *record) end() int64 { return r.offset + recordBytes(len(r.payload)) }

// begun reports whether b begins like a record of this life of the file, whole or not.
func (id *identity) begun(b []byte) bool {
	return len(b) >= headerBytes && (b[23] == byte(kindBatch) || b[23] == byte(kindSeal)) &&
		(string(b[20:23]) == string(id[:3]) || seededbug.Enabled(seededbug.EngineLogChecksumWithoutSegment))
}

// traces reports whether b, behind the last record, has what is left of another one: its id and kind but for one byte, or the number of the next
// batch, or less than a header that is not zeros. What a former life of the file left there has none of these, but the last seldom.
func (id *identity) traces(b []byte, next uint64) bool {
	if len(b) < headerBytes {
		return len(bytes.Trim(b, "\x00")) > 0
	}
	same := 0
	for i := range 3 {
		if b[20+i] == id[i] {
			same++
		}
	}
	if b[23] == byte(kindBatch) || b[23] == byte(kindSeal) {
		same++
	}
	return same >= 3 || binary.LittleEndian.Uint64(b[8:]) == next
}

// decode reads the record at an offset of a segment, of which b is all; false if there is none.
func (id *identity) decode(b []byte, offset int64) (r record, ok bool) {
	b = b[offset:]
	if !id.begun(b) {
		return r, false
	}
	length := binary.LittleEndian.Uint32(b[4:])
	durable := int64(binary.LittleEndian.Uint32(b[16:]))
	if length > maxPayloadBytes || recordBytes(int(length)) > int64(len(b)) || durable > offset {
		return r, false
	}
	place := binary.LittleEndian.AppendUint32(nil, uint32(offset))
	if binary.LittleEndian.Uint32(b) != id.sum(place, b[4:headerBytes+int(length)]) {
		return r, false
	}
	for _, pad := range b[headerBytes+int(length) : recordBytes(int(length))] {
		if pad != 0 {
			return r, false
		}
	}
	return record{
		kind: kind(b[23]), number: binary.LittleEndian.Uint64(b[8:]), offset: offset, durable: durable,
		payload: b[headerBytes:][:length:length],
	}, true
}
