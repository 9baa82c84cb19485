package table

import (
	"encoding/binary"
	"errors"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// restartInterval is how many rows share prefixes before one is written in full. LevelDB's
// figure: a seek decodes eight rows on average, and the full keys cost about one byte a row.
const restartInterval = 16

// Flags of a row in a block.
const (
	flagPut    = 1 << 0 // otherwise a tombstone
	flagExpiry = 1 << 1
	flagsKnown = flagPut | flagExpiry
)

// errBlock says that a block's bytes, though their checksum is right, are no block.
var errBlock = errors.New("malformed block")

// blockBuilder lays out rows:
//
//	row     shared (uvarint) | unshared (uvarint) | key bytes after the shared ones | flags (1)
//	        | version, less the previous row's (varint) | sequence, likewise (varint)
//	        | expiry (uvarint, if flagExpiry) | value length (uvarint) | value
//	block   rows | offset of each restart (uint32) | number of restarts (uint32)
//
// At a restart nothing is shared and the differences are from zero. Integers are little-endian.
type blockBuilder struct {
	buf      []byte
	restarts []uint32
	count    int // rows since the last restart
	rows     int
	last     record.Key // its User is lastUser
	lastUser []byte
}

func (b *blockBuilder) add(r *record.Row) {
	shared := 0
	if b.rows == 0 || b.count == restartInterval {
		b.restarts = append(b.restarts, uint32(len(b.buf)))
		b.count = 0
		b.last = record.Key{}
	} else {
		shared = sharedPrefix(b.lastUser, r.User)
	}
	b.buf = binary.AppendUvarint(b.buf, uint64(shared))
	b.buf = binary.AppendUvarint(b.buf, uint64(len(r.User)-shared))
	b.buf = append(b.buf, r.User[shared:]...)
	flags := byte(0)
	if r.Kind == record.Put {
		flags |= flagPut
	}
	if r.Expiry != 0 {
		flags |= flagExpiry
	}
	b.buf = append(b.buf, flags)
	b.buf = binary.AppendVarint(b.buf, int64(r.Version-b.last.Version))
	b.buf = binary.AppendVarint(b.buf, int64(r.Sequence-b.last.Sequence))
	if r.Expiry != 0 {
		b.buf = binary.AppendUvarint(b.buf, r.Expiry)
	}
	b.buf = binary.AppendUvarint(b.buf, uint64(len(r.Value)))
	b.buf = append(b.buf, r.Value...)
	b.lastUser = append(b.lastUser[:0], r.User...)
	b.last = record.Key{User: b.lastUser, Version: r.Version, Sequence: r.Sequence}
	b.count++
	b.rows++
}

func sharedPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// finish completes the block; the bytes are valid until reset.
func (b *blockBuilder) finish() []byte {
	for _, r := range b.restarts {
		b.buf = binary.LittleEndian.AppendUint32(b.buf, r)
	}
	b.buf = binary.LittleEndian.AppendUint32(b.buf, uint32(len(b.restarts)))
	return b.buf
}

func (b *blockBuilder) reset() {
	b.buf, b.restarts = b.buf[:0], b.restarts[:0]
	b.count, b.rows = 0, 0
}

// size is what finish would give now.
func (b *blockBuilder) size() int { return len(b.buf) + 4*len(b.restarts) + 4 }

// block is a decoded block: its rows' bytes and where restarts are. Immutable.
type block struct {
	rows     []byte
	restarts []byte // uint32 each
}

// parseBlock checks the outline of a block (B2); rows are checked when they are read.
func parseBlock(raw []byte) (*block, error) {
	if len(raw) < 8 {
		return nil, errBlock
	}
	count := int(binary.LittleEndian.Uint32(raw[len(raw)-4:]))
	if count < 1 || count > (len(raw)-4)/4 {
		return nil, errBlock
	}
	end := len(raw) - 4 - 4*count
	b := &block{rows: raw[:end:end], restarts: raw[end : len(raw)-4]}
	last := -1
	for i := range count {
		at := b.restart(i)
		if at <= last || at >= end || i == 0 && at != 0 {
			return nil, errBlock
		}
		last = at
	}
	return b, nil
}

func (b *block) restartCount() int { return len(b.restarts) / 4 }

func (b *block) restart(i int) int { return int(binary.LittleEndian.Uint32(b.restarts[4*i:])) }
