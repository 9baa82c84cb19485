package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/lightning-db/lightning/api"
)

// Entry is the data of one Raft entry of a shard: when it was proposed, and the commands.
//
//	format u8 = 1 | time u64 | ceiling u64 | count uvarint | count × { length uvarint | command } | CRC32C u32
//
// Numbers of fixed width are big-endian; the checksum covers everything before it.
type Entry struct {
	// Time is the proposer's time. The versions of the commands begin there, or later when
	// shard time is already ahead.
	Time api.Version
	// CeilingMillis is the shard time that the proposer may use once the entry is committed.
	CeilingMillis uint64
	// Commands are encoded commands.
	Commands [][]byte
}

const (
	entryFormat           = 1
	entryHeaderBytes      = 1 + 8 + 8
	entryChecksumBytes    = 4
	minEncodedCommand     = 1 + 2 // its length, opcode and evaluation version
	maxEntryCommands      = 1024  // one entry's results are one uninterrupted step of apply
	uvarintBytes          = binary.MaxVarintLen64
	maxCeilingAheadMillis = 500 // DESIGN section 9: a ceiling is at most that far ahead
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorruptEntry is an entry whose bytes are not what a proposer wrote.
var ErrCorruptEntry = errors.New("corrupt entry")

// EncodeEntry encodes an entry of at most maxEntryCommands commands.
func EncodeEntry(e Entry) []byte {
	size := entryHeaderBytes + uvarintBytes + entryChecksumBytes
	for _, c := range e.Commands {
		size += uvarintBytes + len(c)
	}
	dst := make([]byte, 0, size)
	dst = append(dst, entryFormat)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Time))
	dst = binary.BigEndian.AppendUint64(dst, e.CeilingMillis)
	dst = binary.AppendUvarint(dst, uint64(len(e.Commands)))
	for _, c := range e.Commands {
		dst = appendBytes(dst, c)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst, castagnoli))
}

// DecodeEntry checks and decodes what EncodeEntry wrote. The commands alias data.
func DecodeEntry(data []byte) (Entry, error) {
	if len(data) < entryHeaderBytes+1+entryChecksumBytes {
		return Entry{}, fmt.Errorf("decode entry of %d bytes: too short: %w", len(data), ErrCorruptEntry)
	}
	if len(data) > api.MaxEntryBytes {
		return Entry{}, fmt.Errorf("decode entry of %d bytes: over the limit of %d: %w", len(data), api.MaxEntryBytes, ErrCorruptEntry)
	}
	body, sum := data[:len(data)-entryChecksumBytes], binary.BigEndian.Uint32(data[len(data)-entryChecksumBytes:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return Entry{}, fmt.Errorf("decode entry of %d bytes: checksum %08x, expected %08x: %w", len(data), got, sum, ErrCorruptEntry)
	}
	r := byteReader{rest: body}
	if format := r.byte(); format != entryFormat {
		return Entry{}, fmt.Errorf("decode entry: format %d is not known to this build: run a newer one on this node", format)
	}
	e := Entry{Time: api.Version(r.uint64()), CeilingMillis: r.uint64()}
	e.Commands = make([][]byte, r.count(maxEntryCommands, minEncodedCommand))
	for i := range e.Commands {
		e.Commands[i] = r.bytes()
	}
	if err := r.done(); err != nil {
		return Entry{}, fmt.Errorf("decode entry of %d bytes: %w: %w", len(data), err, ErrCorruptEntry)
	}
	return e, nil
}
