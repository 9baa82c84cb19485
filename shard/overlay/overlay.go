package overlay

import (
	"bytes"
	"hash/maphash"

	"github.com/lightning-db/lightning/internal/evaluate"
)

// Overlay finds the newest row of each key that a run has written. It keeps its memory from one
// run to the next: a map would allocate each key anew.
type Overlay struct {
	seed  maphash.Seed
	slots []uint32 // a power of two; places in rows, counted from 1, where a key's hash or what follows says
	rows  []overlayRow
	keys  []byte
}

type overlayRow struct {
	hash       uint64
	start, end int // of the key
	row        evaluate.Row
}

// minOverlaySlots suits an entry of small writes; maxOverlayRows is what an empty overlay keeps
// memory for.
const (
	minOverlaySlots = 256
	maxOverlayRows  = 8 << 10
)

// New makes an empty one.
func New() Overlay {
	return Overlay{seed: maphash.MakeSeed(), slots: make([]uint32, minOverlaySlots)}
}

// Find is the row of a key, nil if the run has not written it.
func (o *Overlay) Find(key []byte) *evaluate.Row {
	if len(o.rows) == 0 {
		return nil
	}
	if at := o.slots[o.slot(maphash.Bytes(o.seed, key), key)]; at != 0 {
		return &o.rows[at-1].row
	}
	return nil
}

// Put sets the row of a key, which it copies.
func (o *Overlay) Put(key []byte, row evaluate.Row) {
	hash := maphash.Bytes(o.seed, key)
	slot := o.slot(hash, key)
	if at := o.slots[slot]; at != 0 {
		o.rows[at-1].row = row
		return
	}
	start := len(o.keys)
	o.keys = append(o.keys, key...)
	o.rows = append(o.rows, overlayRow{hash: hash, start: start, end: len(o.keys), row: row})
	o.slots[slot] = uint32(len(o.rows))
	if 2*len(o.rows) > len(o.slots) {
		o.grow()
	}
}

// slot is where a key is, or where it would be.
func (o *Overlay) slot(hash uint64, key []byte) int {
	mask := len(o.slots) - 1
	for i := int(hash) & mask; ; i = (i + 1) & mask {
		at := o.slots[i]
		if at == 0 {
			return i
		}
		if r := &o.rows[at-1]; r.hash == hash && bytes.Equal(o.keys[r.start:r.end], key) {
			return i
		}
	}
}

func (o *Overlay) grow() {
	o.slots = make([]uint32, 2*len(o.slots))
	mask := len(o.slots) - 1
	for at := range o.rows {
		i := int(o.rows[at].hash) & mask
		for o.slots[i] != 0 {
			i = (i + 1) & mask
		}
		o.slots[i] = uint32(at + 1)
	}
}

// Reset empties it.
func (o *Overlay) Reset() {
	if len(o.rows) > maxOverlayRows {
		*o = New()
		return
	}
	clear(o.slots)
	clear(o.rows)
	o.rows, o.keys = o.rows[:0], o.keys[:0]
}
