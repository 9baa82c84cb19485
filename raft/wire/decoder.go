package wire

import "encoding/binary"

// Decoder reads a byte string front to back. After the first field that does not fit, Bad is
// set and every later field is zero, so a caller checks once per record.
type Decoder struct {
	Rest []byte
	Bad  bool
}

// Byte is one byte.
func (d *Decoder) Byte() byte {
	if d.Bad || len(d.Rest) < 1 {
		d.Bad = true
		return 0
	}
	v := d.Rest[0]
	d.Rest = d.Rest[1:]
	return v
}

// Uvarint is an integer in the encoding of encoding/binary, in its shortest form only.
func (d *Decoder) Uvarint() uint64 {
	if d.Bad {
		return 0
	}
	v, n := binary.Uvarint(d.Rest)
	if n <= 0 || n > 1 && d.Rest[n-1] == 0 {
		d.Bad = true
		return 0
	}
	d.Rest = d.Rest[n:]
	return v
}

// Bytes returns the next n bytes, which alias the input.
func (d *Decoder) Bytes(n uint64) []byte {
	if d.Bad || uint64(len(d.Rest)) < n {
		d.Bad = true
		return nil
	}
	v := d.Rest[:n:n]
	d.Rest = d.Rest[n:]
	return v
}

// Bool accepts 0 and 1 only.
func (d *Decoder) Bool() bool {
	v := d.Byte()
	if v > 1 {
		d.Bad = true
	}
	return v == 1
}

// End fails unless every field fitted and nothing is left.
func (d *Decoder) End() error {
	if d.Bad || len(d.Rest) != 0 {
		return ErrMalformed
	}
	return nil
}

// Field is a length and that many bytes.
func (d *Decoder) Field() []byte { return d.Bytes(d.Uvarint()) }

// AppendField appends what Field reads.
func AppendField(b, field []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(field)))
	return append(b, field...)
}
