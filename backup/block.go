package backup

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// A file of rows:
//
//	header  "LTNGBKP\x01" | backup id 16 bytes | shard u64 | crc32c u32
//	blocks  kind u8 | offset u64 | raw length u32 | stored length u32 | crc32c u32 | bytes
//
// Numbers are big endian. The checksum of the header is of what is before it. That of a block is of the header's checksum, the
// block's first 17 bytes and its stored bytes, so that a block is good in its place only.
const (
	fileMagic        = "LTNGBKP\x01"
	idBytes          = 16
	fileHeaderBytes  = len(fileMagic) + idBytes + 8 + 4
	blockHeaderBytes = 1 + 8 + 4 + 4 + 4

	// targetBlockBytes is when a block is closed: zstd gains little from more.
	targetBlockBytes = 256 << 10
	// MaxBlockBytes bounds the records of a block: what there may be when one more is added.
	MaxBlockBytes = targetBlockBytes + record.MaxBytes
)

type blockKind uint8

const (
	blockRows    blockKind = 1 // records, compressed with zstd
	blockRowsRaw blockKind = 2 // records as they are, because zstd would gain nothing
	blockEnd     blockKind = 3 // rows u64 | bytes u64; nothing is behind it
)

const endBytes = 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ID names one backup; it is random.
type ID [idBytes]byte

func appendFileHeader(dst []byte, id ID, shard api.ShardID) []byte {
	start := len(dst)
	dst = append(dst, fileMagic...)
	dst = append(dst, id[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(shard))
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// blocks encodes and decodes the blocks of one file.
type blocks struct {
	seed    [4]byte // the checksum of the file's header
	encoder *zstd.Encoder
	decoder *zstd.Decoder
	packed  []byte
	raw     []byte
}

func (b *blocks) sum(header, stored []byte) uint32 {
	sum := crc32.Checksum(b.seed[:], castagnoli)
	sum = crc32.Update(sum, castagnoli, header)
	return crc32.Update(sum, castagnoli, stored)
}

// append encodes a block that begins at offset.
func (b *blocks) append(dst []byte, kind blockKind, offset int64, raw []byte) []byte {
	stored := raw
	if kind == blockRows {
		b.packed = b.encoder.EncodeAll(raw, b.packed[:0])
		if stored = b.packed; len(stored) >= len(raw) {
			kind, stored = blockRowsRaw, raw
		}
	}
	start := len(dst)
	dst = append(dst, byte(kind))
	dst = binary.BigEndian.AppendUint64(dst, uint64(offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(raw)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(stored)))
	dst = binary.BigEndian.AppendUint32(dst, b.sum(dst[start:], stored))
	return append(dst, stored...)
}

// blockHeader is what stands before the bytes of a block.
type blockHeader struct {
	kind        blockKind
	raw, stored int
	sum         uint32
}

// parse checks a header as far as it goes: lengths are compared with limits before anything is read.
func parseBlockHeader(h []byte, offset int64) (blockHeader, error) {
	b := blockHeader{
		kind: blockKind(h[0]), raw: int(binary.BigEndian.Uint32(h[9:])), stored: int(binary.BigEndian.Uint32(h[13:])),
		sum: binary.BigEndian.Uint32(h[17:]),
	}
	bad := false
	switch b.kind {
	case blockRows:
		bad = b.stored >= b.raw
	case blockRowsRaw:
		bad = b.stored != b.raw
	case blockEnd:
		bad = b.raw != endBytes || b.stored != endBytes
	default:
		bad = true
	}
	if bad || b.raw == 0 || b.raw > MaxBlockBytes || int64(binary.BigEndian.Uint64(h[1:])) != offset {
		return b, fmt.Errorf("this is not the header of a block")
	}
	return b, nil
}

// open checks a block and returns its records, which are good until the next call.
func (b *blocks) open(h blockHeader, header, stored []byte) ([]byte, error) {
	if b.sum(header[:blockHeaderBytes-4], stored) != h.sum && !seededbug.Enabled(seededbug.BackupSkipChecksum) {
		return nil, fmt.Errorf("checksum mismatch in a block of %d bytes", blockHeaderBytes+len(stored))
	}
	if h.kind != blockRows {
		return stored, nil
	}
	raw, err := b.decoder.DecodeAll(stored, b.raw[:0])
	b.raw = raw
	if err != nil || len(raw) != h.raw {
		return nil, fmt.Errorf("a block does not unpack to %d bytes", h.raw)
	}
	return raw, nil
}

func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
}

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*MaxBlockBytes))
}
