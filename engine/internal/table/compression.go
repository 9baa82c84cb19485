package table

import (
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Compression says how a writer compresses data blocks. A block that would not get an eighth smaller stays plain.
type Compression uint8

// The ways to compress.
const (
	// None leaves all blocks plain.
	None Compression = iota
	// S2 costs little to write and to read.
	S2
	// Dense takes Zstd instead where samples say that it saves a good deal more than S2.
	Dense
	// Zstd takes it wherever it saves something.
	Zstd
)

// Types of blocks as they are in a file. Those from typeSealed on are reserved for blocks that are encrypted, after
// compression by the type that the lower bits name.
const (
	typePlain  = 0
	typeS2     = 1
	typeZstd   = 2
	typeSealed = 0x80
)

const (
	// sampleEvery is how many blocks follow the choice that one of them makes. Blocks of a table are alike: with 16 the
	// sample costs a tenth of what S2 does, and a change of content is met soon.
	sampleEvery = 16

	// maxRest is how many blocks are not tried when compression was in vain again and again.
	maxRest = 16
)

// worth reports whether a compressed length saves an eighth of another one, which is what makes up for decompression.
func worth(length, than int) bool { return length <= than-than/8 }

// compressor chooses the type of each block of a table by what it met before.
type compressor struct {
	mode   Compression
	dense  bool // what the last sample said
	until  int  // blocks until the next sample
	vain   int  // blocks in a row that did not get smaller
	rest   int  // blocks that are not tried
	buffer []byte
}

// compress appends a block to dst in the form that it chooses.
func (c *compressor) compress(dst, raw []byte) (all []byte, kind byte) {
	if c.mode == None || c.resting() {
		return append(dst, raw...), typePlain
	}
	start := len(dst)
	switch c.mode {
	case S2:
		dst, kind = appendS2(dst, raw), typeS2
	case Zstd:
		dst, kind = appendZstd(dst, raw), typeZstd
	default:
		dst, kind = c.sample(dst, raw)
	}
	if !worth(len(dst)-start, len(raw)) {
		c.vain++
		c.rest = min(c.vain-1, maxRest)
		return append(dst[:start], raw...), typePlain
	}
	c.vain = 0
	return dst, kind
}

// resting reports whether a block is left alone: after some that did not get smaller most are, so that random bytes
// cost next to nothing.
func (c *compressor) resting() bool {
	c.rest--
	return c.rest >= 0
}

// sample compresses as the last sample said, and now and then in both ways.
func (c *compressor) sample(dst, raw []byte) (all []byte, kind byte) {
	start := len(dst)
	if c.until--; c.until >= 0 {
		if c.dense {
			return appendZstd(dst, raw), typeZstd
		}
		return appendS2(dst, raw), typeS2
	}
	c.until = sampleEvery - 1
	dst = appendS2(dst, raw)
	c.buffer = appendZstd(c.buffer[:0], raw)
	if c.dense = worth(len(c.buffer), len(dst)-start); c.dense {
		return append(dst[:start], c.buffer...), typeZstd
	}
	return dst, typeS2
}

func appendS2(dst, raw []byte) []byte {
	most := s2.MaxEncodedLen(len(raw))
	if most < 0 {
		return append(dst, raw...)
	}
	if cap(dst)-len(dst) < most {
		dst = append(make([]byte, 0, 2*len(dst)+most), dst...)
	}
	return dst[:len(dst)+len(s2.Encode(dst[len(dst):len(dst)+most], raw))]
}

// The encoder and the decoder are made, and made ready, when the program begins: they keep what they work with in channels, and one that is
// first used inside a bubble of testing/synctest would belong to that.
var (
	zstdEncoder = newZstdEncoder()
	zstdDecoder = newZstdDecoder()
)

// newZstdEncoder makes one with a window for blocks, and without goroutines.
func newZstdEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(false), zstd.WithWindowSize(64<<10),
		zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		panic(err) // the options are wrong
	}
	e.EncodeAll([]byte{0}, nil) // makes the channel
	return e
}

func newZstdDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxBlockBytes))
	if err != nil {
		panic(err) // the options are wrong
	}
	return d
}

func appendZstd(dst, raw []byte) []byte { return zstdEncoder.EncodeAll(raw, dst) }

// unpack decompresses a payload into dst, which has the length that it must get.
func unpack(dst, payload []byte, kind byte) bool {
	switch kind {
	case typeS2:
		_, err := s2.Decode(dst, payload)
		return err == nil
	case typeZstd:
		raw, err := zstdDecoder.DecodeAll(payload, dst[:0:len(dst)])
		return err == nil && len(raw) == len(dst)
	}
	return false
}

// announced is the length before compression that a payload says it has, or less than zero.
func announced(payload []byte, kind byte) int {
	switch kind {
	case typePlain:
		return len(payload)
	case typeS2:
		if n, err := s2.DecodedLen(payload); err == nil {
			return n
		}
	case typeZstd:
		var h zstd.Header
		if h.Decode(payload) == nil && h.HasFCS && h.FrameContentSize <= maxBlockBytes {
			return int(h.FrameContentSize)
		}
	}
	return -1
}
