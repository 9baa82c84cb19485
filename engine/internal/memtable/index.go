package memtable

import "sync/atomic"

const (
	// minIndexSlots is what an empty memtable has: an idle store costs little.
	minIndexSlots = 64
	slotBytes     = 8
)

// index finds the newest row of a key by the key's hash: open addressing, one step after the other,
// at most half full. A slot holds the hash above the reference of the row; an empty one is zero,
// because no row has the reference none. One goroutine writes, any number reads.
type index struct {
	slots []atomic.Uint64
}

// newIndex makes an empty index with a power of two of slots.
func newIndex(slots int) *index { return &index{slots: make([]atomic.Uint64, slots)} }

// slotsFor is how many slots so many keys need.
func slotsFor(keys int) int {
	slots := minIndexSlots
	for slots < 2*keys {
		slots *= 2
	}
	return slots
}

func slotOf(hash, row uint32) uint64 { return uint64(hash)<<32 | uint64(row) }

func (x *index) bytes() int { return len(x.slots) * slotBytes }

func (x *index) first(hash uint32) int { return int(hash) & (len(x.slots) - 1) }

func (x *index) after(slot int) int { return (slot + 1) & (len(x.slots) - 1) }

// grown is a copy with twice the slots.
func (x *index) grown() *index {
	larger := newIndex(2 * len(x.slots))
	for i := range x.slots {
		slot := x.slots[i].Load()
		if slot == 0 {
			continue
		}
		at := larger.first(uint32(slot >> 32))
		for larger.slots[at].Load() != 0 {
			at = larger.after(at)
		}
		larger.slots[at].Store(slot)
	}
	return larger
}
