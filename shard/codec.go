package shard

import (
	"encoding/binary"
	"errors"
)

// errMalformed is what every decoder of this package returns for bytes that no encoder wrote.
var errMalformed = errors.New("malformed")

// byteReader takes values off the front of a byte slice. After the first value that is not there,
// not minimal or out of range, bad is set and every further read yields zero.
type byteReader struct {
	rest []byte
	bad  bool
}

func (r *byteReader) fail() {
	r.bad, r.rest = true, nil
}

func (r *byteReader) byte() byte {
	if len(r.rest) < 1 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// flag is a byte that is 0 or 1.
func (r *byteReader) flag() bool {
	b := r.byte()
	if b > 1 {
		r.fail()
	}
	return b == 1
}

func (r *byteReader) uint64() uint64 {
	if len(r.rest) < 8 {
		r.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return v
}

func (r *byteReader) uint32() uint32 {
	if len(r.rest) < 4 {
		r.fail()
		return 0
	}
	v := binary.BigEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return v
}

func (r *byteReader) uint16() uint16 {
	if len(r.rest) < 2 {
		r.fail()
		return 0
	}
	v := binary.BigEndian.Uint16(r.rest)
	r.rest = r.rest[2:]
	return v
}

// uvarint accepts the shortest encoding only, so that equal values have equal bytes.
func (r *byteReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// varint is a zigzag number.
func (r *byteReader) varint() int64 {
	u := r.uvarint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

// bytes takes a length and that many bytes. The result aliases the input and has no spare
// capacity; nothing is allocated for a length that is not there.
func (r *byteReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	return r.take(int(n))
}

// take takes n bytes, like bytes.
func (r *byteReader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// count reads a number of elements of which each takes at least minBytes, so that no slice is
// made larger than the input can fill.
func (r *byteReader) count(limit uint64, minBytes int) int {
	n := r.uvarint()
	if n > limit || n > uint64(len(r.rest)/minBytes) {
		r.fail()
		return 0
	}
	return int(n)
}

// done reports whether everything was read and nothing is left.
func (r *byteReader) done() error {
	if r.bad || len(r.rest) != 0 {
		return errMalformed
	}
	return nil
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func appendFlag(dst []byte, f bool) []byte {
	if f {
		return append(dst, 1)
	}
	return append(dst, 0)
}
