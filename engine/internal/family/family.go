package family

import (
	"bytes"
	"encoding/binary"
	"sort"
)

// Catalog is the id of the family that lists the others. It is no family to anybody else.
const Catalog = 0

// shortIDs have a prefix of one byte; a longer one begins with the number of those that follow.
const shortIDs = 0xF0

// Prefix is what every key of a family begins with (FM1).
//
//	id < 0xF0: the id | otherwise: 0xF0 + n-1 | the id in n bytes, big-endian, the first one not zero
func Prefix(id uint64) []byte {
	if id < shortIDs {
		return []byte{byte(id)}
	}
	raw := bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, id), "\x00")
	return append([]byte{byte(shortIDs + len(raw) - 1)}, raw...)
}

// IDOf is the id of the family that a key is of; false if it is of none.
func IDOf(key []byte) (id uint64, ok bool) {
	if len(key) == 0 {
		return 0, false
	}
	if key[0] < shortIDs {
		return uint64(key[0]), true
	}
	n := int(key[0]) - shortIDs + 1
	if n > 8 || len(key) < 1+n {
		return 0, false
	}
	for _, b := range key[1 : 1+n] {
		id = id<<8 | uint64(b)
	}
	return id, true
}

// End is the first key behind all keys with a prefix.
func End(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; ; i-- { // the first byte is never 0xFF
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

// Entry is the row that lists a family.
type Entry struct {
	ID        uint64
	Name      string
	Dropped   bool
	TTLMillis uint64 // zero for none

	NewestOnly     bool  // no older versions are kept
	OwnCompression bool  // blocks are compressed as Compression says, not as the store's
	Compression    uint8 // zero without
}

// Flags of an entry.
const (
	flagDropped = 1 << iota
	flagNewestOnly
	flagCompression
	unknownFlags
)

// NextKey is the key of the row that has the next id.
func NextKey() []byte { return Key(Catalog) }

// Key is the key of the entry of a family.
func Key(id uint64) []byte { return append(Prefix(Catalog), Prefix(id)...) }

// AppendID encodes the next id.
func AppendID(b []byte, id uint64) []byte { return binary.AppendUvarint(b, id) }

// DecodeID reads the next id; false if the bytes are none.
func DecodeID(b []byte) (uint64, bool) {
	id, n := binary.Uvarint(b)
	return id, n > 0 && n == len(b)
}

// Encode gives the value of the entry:
//
//	id (uvarint) | flags (1): 1 dropped, 2 newest only, 4 own compression | time to live in milliseconds (uvarint) |
//	compression (1), with flag 4 | name
func (e Entry) Encode() []byte {
	flags := byte(0)
	if e.Dropped {
		flags |= flagDropped
	}
	if e.NewestOnly {
		flags |= flagNewestOnly
	}
	if e.OwnCompression {
		flags |= flagCompression
	}
	b := append(binary.AppendUvarint(nil, e.ID), flags)
	b = binary.AppendUvarint(b, e.TTLMillis)
	if e.OwnCompression {
		b = append(b, e.Compression)
	}
	return append(b, e.Name...)
}

// Decode reads the value of an entry; false if it is none.
func Decode(b []byte) (e Entry, ok bool) {
	id, n := binary.Uvarint(b)
	if n <= 0 || id == Catalog || n == len(b) || b[n] >= unknownFlags {
		return e, false
	}
	flags := b[n]
	e.ID, e.Dropped, e.NewestOnly, e.OwnCompression = id, flags&flagDropped != 0, flags&flagNewestOnly != 0, flags&flagCompression != 0
	b = b[n+1:]
	if e.TTLMillis, n = binary.Uvarint(b); n <= 0 {
		return e, false
	}
	if b = b[n:]; e.OwnCompression && len(b) > 0 {
		e.Compression, b = b[0], b[1:]
	}
	e.Name = string(b)
	return e, len(b) > 0
}

// Dropped are the ranges of keys of the families that were dropped. Nil is none.
type Dropped struct{ starts, ends [][]byte }

// NewDropped makes the set of the families with ascending ids.
func NewDropped(ids []uint64) *Dropped {
	if len(ids) == 0 {
		return nil
	}
	d := &Dropped{}
	for _, id := range ids {
		d.starts, d.ends = append(d.starts, Prefix(id)), append(d.ends, End(Prefix(id)))
	}
	return d
}

// Covers reports whether a key is one of a dropped family.
func (d *Dropped) Covers(key []byte) bool { return d.Meets(key, key) }

// Meets reports whether a key from smallest to largest may be one of a dropped family.
func (d *Dropped) Meets(smallest, largest []byte) bool {
	if d == nil {
		return false
	}
	i := sort.Search(len(d.ends), func(i int) bool { return bytes.Compare(d.ends[i], smallest) > 0 })
	return i < len(d.ends) && bytes.Compare(d.starts[i], largest) <= 0
}
