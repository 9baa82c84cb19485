package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/lightning-db/lightning/api"
)

// Kind is what a record is.
type Kind uint8

// The kinds.
const (
	// Row is a key with its whole value.
	Row Kind = 1
	// Long is a key whose value follows in pieces.
	Long Kind = 2
	// Piece is a piece of the value of the Long before it.
	Piece Kind = 3
)

const (
	// MaxPieceBytes bounds what of a value is in one record: what a shard reads of a value at a time.
	MaxPieceBytes = api.MaxInlineBytes
	// MaxBytes bounds an encoded record: key, piece, kind and the numbers.
	MaxBytes = MaxPieceBytes + api.MaxKeyBytes + 64
)

// Record is one record. Of a Piece only Value is set.
type Record struct {
	Kind         Kind
	Namespace    api.Namespace
	ExpiryMillis uint64 // 0 is never
	Key          []byte
	// ValueBytes is the length of a Long's value. The others have it from Value.
	ValueBytes uint64
	Value      []byte
}

// Append encodes a record:
//
//	Row    1 | namespace | expiry | key length, each uvarint | key | value length uvarint | value
//	Long   2 | namespace | expiry | key length, each uvarint | key | value length uvarint
//	Piece  3 | length uvarint | bytes
func (r *Record) Append(dst []byte) []byte {
	dst = append(dst, byte(r.Kind))
	if r.Kind != Piece {
		dst = binary.AppendUvarint(dst, uint64(r.Namespace))
		dst = binary.AppendUvarint(dst, r.ExpiryMillis)
		dst = binary.AppendUvarint(dst, uint64(len(r.Key)))
		dst = append(dst, r.Key...)
	}
	if r.Kind == Long {
		return binary.AppendUvarint(dst, r.ValueBytes)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Value)))
	return append(dst, r.Value...)
}

// ErrMalformed is matched by what Decode refuses.
var ErrMalformed = errors.New("malformed record")

// Decode reads the first record of b and returns what is behind it. The record has the memory of b.
func Decode(b []byte) (Record, []byte, error) {
	if len(b) == 0 {
		return Record{}, nil, fmt.Errorf("nothing is there: %w", ErrMalformed)
	}
	d := decoder{rest: b[1:]}
	r := Record{Kind: Kind(b[0])}
	switch r.Kind {
	case Row, Long:
		r.Namespace = api.Namespace(d.number(math.MaxUint32))
		r.ExpiryMillis = d.number(math.MaxUint64)
		r.Key = d.bytes(api.MaxKeyBytes)
		if len(r.Key) == 0 {
			d.bad = true
		}
	case Piece:
	default:
		d.bad = true
	}
	if r.Kind == Long {
		r.ValueBytes = d.number(api.MaxValueBytes)
		d.bad = d.bad || r.ValueBytes == 0
	} else {
		r.Value = d.bytes(MaxPieceBytes)
		r.ValueBytes = uint64(len(r.Value))
		d.bad = d.bad || r.Kind == Piece && len(r.Value) == 0
	}
	if d.bad {
		return Record{}, nil, fmt.Errorf("a record of kind %d: %w", r.Kind, ErrMalformed)
	}
	return r, d.rest, nil
}

// decoder reads fields until the first one that is wrong.
type decoder struct {
	rest []byte
	bad  bool
}

// number refuses what is over the limit and what has a shorter encoding.
func (d *decoder) number(limit uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	if d.bad || n <= 0 || v > limit || n > 1 && d.rest[n-1] == 0 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes(limit int) []byte {
	n := d.number(uint64(limit))
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}
