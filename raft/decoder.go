package raft

import "encoding/binary"

// decoder reads a byte string front to back. After the first field that does not fit, bad is
// set and every later field is zero, so a caller checks once per record.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) byte() byte {
	if d.bad || len(d.rest) < 1 {
		d.bad = true
		return 0
	}
	v := d.rest[0]
	d.rest = d.rest[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	if d.bad {
		return 0
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// bytes returns the next n bytes, which alias the input.
func (d *decoder) bytes(n uint64) []byte {
	if d.bad || uint64(len(d.rest)) < n {
		d.bad = true
		return nil
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

// bool accepts 0 and 1 only.
func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.bad = true
	}
	return v == 1
}

// end fails unless every field fitted and nothing is left.
func (d *decoder) end() error {
	if d.bad || len(d.rest) != 0 {
		return errFrameMalformed
	}
	return nil
}

// field is a length and that many bytes.
func (d *decoder) field() []byte { return d.bytes(d.uvarint()) }

func appendField(b, field []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(field)))
	return append(b, field...)
}
