package wal

import (
	"encoding/binary"

	"github.com/lightning-db/lightning/engine/internal/memtable"
	rows "github.com/lightning-db/lightning/engine/internal/record"
)

// Batch is one batch as the log keeps it.
type Batch struct {
	Number   uint64 // batches are numbered from 1 on, over the whole life of the store
	Sequence uint64 // of the first row

	HasPosition    bool
	Index, Term    uint64
	HorizonVersion uint64
	HorizonExpiry  uint64

	Refs []memtable.Ref // rows in Rows, in order and without gaps; versions are not zero
	Rows []byte

	// Deletes says that all rows are tombstones, which may use the room that is kept for such. It is not written.
	Deletes bool
}

// Flags of a payload.
const (
	flagPosition   = 1 << 0
	flagHorizon    = 1 << 1
	flagOneVersion = 1 << 2 // all rows have the same
	flagsKnown     = flagPosition | flagHorizon | flagOneVersion
)

// maxBytes is above the length of the payload.
func (b *Batch) maxBytes() int {
	const fixed = 1 + 6*binary.MaxVarintLen64
	return fixed + binary.MaxVarintLen64*len(b.Refs) + len(b.Rows)
}

// appendTo appends the payload:
//
//	flags (1) | sequence | [index | term] | [horizon version | horizon expiry] | rows | versions, one or one per row | rows
//
// Numbers are uvarints. Rows are as memtables keep them.
func (b *Batch) appendTo(out []byte) []byte {
	at := len(out)
	out = binary.AppendUvarint(append(out, 0), b.Sequence)
	if b.HasPosition {
		out[at] |= flagPosition
		out = binary.AppendUvarint(binary.AppendUvarint(out, b.Index), b.Term)
	}
	if b.HorizonVersion|b.HorizonExpiry != 0 {
		out[at] |= flagHorizon
		out = binary.AppendUvarint(binary.AppendUvarint(out, b.HorizonVersion), b.HorizonExpiry)
	}
	out = binary.AppendUvarint(out, uint64(len(b.Refs)))
	versions := b.Refs
	if b.oneVersion() {
		out[at] |= flagOneVersion
		versions = b.Refs[:1]
	}
	for i := range versions {
		out = binary.AppendUvarint(out, versions[i].Version)
	}
	return append(out, b.Rows...)
}

func (b *Batch) oneVersion() bool {
	for i := range b.Refs {
		if b.Refs[i].Version != b.Refs[0].Version {
			return false
		}
	}
	return len(b.Refs) > 0
}

// uvarints takes numbers from the front of a slice, until one is missing.
type uvarints struct {
	b   []byte
	bad bool
}

func (u *uvarints) next() uint64 {
	n, w := binary.Uvarint(u.b)
	if w <= 0 {
		u.bad = true
		return 0
	}
	u.b = u.b[w:]
	return n
}

// decodeBatch reads a payload, whose bytes the result shares. It takes any bytes; false if they are no batch.
func decodeBatch(number uint64, payload []byte) (*Batch, bool) {
	if len(payload) == 0 || payload[0]&^flagsKnown != 0 {
		return nil, false
	}
	flags, u := payload[0], uvarints{b: payload[1:]}
	b := &Batch{Number: number, Sequence: u.next()}
	if flags&flagPosition != 0 {
		b.HasPosition, b.Index, b.Term = true, u.next(), u.next()
	}
	if flags&flagHorizon != 0 {
		b.HorizonVersion, b.HorizonExpiry = u.next(), u.next()
	}
	count := u.next()
	const leastRow = 5 // the lengths of key and value, a key of one byte, kind and expiry
	if u.bad || count > uint64(len(u.b)/leastRow) || count == 0 && flags&flagOneVersion != 0 {
		return nil, false
	}
	b.Refs = make([]memtable.Ref, count)
	for i := range b.Refs {
		if flags&flagOneVersion != 0 && i > 0 {
			b.Refs[i].Version = b.Refs[0].Version
		} else {
			b.Refs[i].Version = u.next()
		}
		if v := b.Refs[i].Version; v == 0 || v == rows.MaxVersion {
			return nil, false
		}
	}
	b.Rows = u.b
	return b, !u.bad && b.splitRows()
}

// splitRows finds the rows; false if they are not what Refs counts.
func (b *Batch) splitRows() bool {
	at := 0
	for i := range b.Refs {
		n, ok := memtable.RowBytes(b.Rows[at:])
		if !ok {
			return false
		}
		b.Refs[i].Offset = at
		at += n
	}
	return at == len(b.Rows)
}
