package memtable

import "sync/atomic"

const (
	// minIndexSlots is what an empty memtable has: an idle store costs little.
	minIndexSlots = 64
	slotBytes     = 8
)

// index finds the node of a key by the key's hash: open addressing, one step after the other, at
// most half full. A slot holds the hash above the reference of the node; an empty one is zero,
// because no node has the head's reference. One goroutine writes, any number reads.
type index struct {
	slots []atomic.Uint64
}

// newIndex makes an empty index with a power of two of slots.
func newIndex(slots int) *index { return &index{slots: make([]atomic.Uint64, slots)} }

func (x *index) bytes() int { return len(x.slots) * slotBytes }

func (x *index) first(hash uint32) int { return int(hash) & (len(x.slots) - 1) }

func (x *index) after(slot int) int { return (slot + 1) & (len(x.slots) - 1) }

func (x *index) put(hash, key uint32) {
	at := x.first(hash)
	for x.slots[at].Load() != 0 {
		at = x.after(at)
	}
	x.slots[at].Store(uint64(hash)<<32 | uint64(key))
}

// grown is a copy with twice the slots.
func (x *index) grown() *index {
	larger := newIndex(2 * len(x.slots))
	for i := range x.slots {
		if slot := x.slots[i].Load(); slot != 0 {
			larger.put(uint32(slot>>32), uint32(slot))
		}
	}
	return larger
}
