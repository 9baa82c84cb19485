package cache

import "sync/atomic"

// entry is a block that is held.
type entry[V any] struct {
	// Set by Add, never written again.
	address
	hash  uint64
	value V
	size  int

	reads atomic.Uint32 // noted, up to maxReads; counted by readers, halved with the lock of the shard

	// With the lock of the shard.
	slot         int       // in the main part, or inWindow
	older, newer *entry[V] // in the window
}

// index finds entries by their addresses: a table with linear probing, at most half full. Readers take no lock. One that reads
// while an entry moves to another slot may miss it, and then reads the block from its file: that is rare
// and harmless, and marks for removed entries, which would have to be cleared away, are not needed.
type index[V any] struct {
	slots []atomic.Pointer[entry[V]] // a power of two
	count int                        // with the lock of the shard
}

const leastSlots = 64

func newIndex[V any](slots int) *index[V] {
	return &index[V]{slots: make([]atomic.Pointer[entry[V]], slots)}
}

func (x *index[V]) home(h uint64) int { return int(h & uint64(len(x.slots)-1)) }

func (x *index[V]) after(i int) int { return (i + 1) & (len(x.slots) - 1) }

// find gives the entry of an address, or nil. The number of steps is bounded for the sake of a reader whom
// entries that move keep meeting.
func (x *index[V]) find(h uint64, a address) *entry[V] {
	i := x.home(h)
	for range x.slots {
		e := x.slots[i].Load()
		if e == nil || e.address == a {
			return e
		}
		i = x.after(i)
	}
	return nil
}

// insert adds an entry whose address has none.
func (x *index[V]) insert(e *entry[V]) {
	i := x.home(e.hash)
	for x.slots[i].Load() != nil {
		i = x.after(i)
	}
	x.slots[i].Store(e)
	x.count++
}

// remove takes an entry out, and moves those behind it that it had pushed away from their homes.
func (x *index[V]) remove(e *entry[V]) {
	hole := x.home(e.hash)
	for x.slots[hole].Load() != e {
		hole = x.after(hole)
	}
	mask := len(x.slots) - 1
	for i := x.after(hole); ; i = x.after(i) {
		moved := x.slots[i].Load()
		if moved == nil {
			break
		}
		// It may move if its home is not behind the hole: a search from there would not pass by.
		if (i-x.home(moved.hash))&mask >= (i-hole)&mask {
			x.slots[hole].Store(moved)
			hole = i
		}
	}
	x.slots[hole].Store(nil)
	x.count--
}

// grown is an index with the same entries in twice the slots.
func (x *index[V]) grown() *index[V] {
	larger := newIndex[V](2 * len(x.slots))
	for i := range x.slots {
		if e := x.slots[i].Load(); e != nil {
			larger.insert(e)
		}
	}
	return larger
}
