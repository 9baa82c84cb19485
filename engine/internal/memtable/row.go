package memtable

import (
	"bytes"
	"encoding/binary"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// Ref is the place of one encoded row in a batch's buffer, with its version.
type Ref struct {
	Offset  int
	Version uint64
}

// AppendRow encodes a row as memtables keep it:
//
//	key length (uvarint) | key | kind (1) | expiry (uvarint) | value length (uvarint) | value
func AppendRow(buf []byte, kind record.Kind, key, value []byte, expiry uint64) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(key)))
	buf = append(buf, key...)
	buf = append(buf, byte(kind))
	buf = binary.AppendUvarint(buf, expiry)
	buf = binary.AppendUvarint(buf, uint64(len(value)))
	return append(buf, value...)
}

// rowKey gives the user key of the encoded row at the start of b, and what follows it.
func rowKey(b []byte) (key, rest []byte) {
	if n := int(b[0]); n < 0x80 {
		return b[1 : 1+n : 1+n], b[1+n:]
	}
	n, w := binary.Uvarint(b)
	end := w + int(n)
	return b[w:end:end], b[end:]
}

// RowKey gives the user key of the encoded row at the start of b.
func RowKey(b []byte) []byte {
	key, _ := rowKey(b)
	return key
}

// kindOf gives the kind of the encoded row at the start of b.
func kindOf(b []byte) record.Kind {
	_, rest := rowKey(b)
	return record.Kind(rest[0])
}

// decodeRow fills r from an encoded row. The bytes were written by AppendRow in this process.
func decodeRow(b []byte, r *record.Row) {
	key, rest := rowKey(b)
	r.User = key
	r.Kind = record.Kind(rest[0])
	rest = rest[1:]
	expiry, w := binary.Uvarint(rest)
	r.Expiry = expiry
	rest = rest[w:]
	n, w := binary.Uvarint(rest)
	r.Value = rest[w : w+int(n) : w+int(n)]
}

// RowBytes is the length of the encoded row at the start of b, which may hold anything; false if there is none.
func RowBytes(b []byte) (int, bool) {
	length, w := binary.Uvarint(b)
	if w <= 0 || length >= uint64(len(b)-w) {
		return 0, false
	}
	at := w + int(length)
	key, kind := b[w:at], record.Kind(b[at])
	if kind > record.DeleteRange || len(key) == 0 && kind != record.DeleteRange {
		return 0, false
	}
	at++
	_, w = binary.Uvarint(b[at:])
	if w <= 0 {
		return 0, false
	}
	at += w
	size, w := binary.Uvarint(b[at:])
	if w <= 0 || size > uint64(len(b)-at-w) {
		return 0, false
	}
	at += w
	value := b[at : at+int(size)]
	return at + int(size), kind != record.DeleteRange || bytes.Compare(key, value) < 0
}
