package rowcache

import "sync/atomic"

const (
	slotCount   = 15
	bucketBytes = 8 * (1 + slotCount)

	// Of a stamp. What is between the two counts changes, so it never comes back.
	odd    = uint64(1)       // a batch with a key of the bucket is being published
	change = uint64(2)       // one more change
	locked = uint64(1) << 63 // a slot is being written

	// Of a slot: hash (31) | used (1) | place (32). An empty one is zero.
	hashMask = ^uint64(1<<33 - 1)
	used     = uint64(1) << 32
)

// bucket is where the rows of some hashes are found. On a Fill its stamp is locked under the shard's lock; the publisher
// never waits for that.
type bucket struct {
	stamp atomic.Uint64
	slots [slotCount]atomic.Uint64
}

func slotOf(hash uint64, place uint32) uint64 { return hash&hashMask | uint64(place) }

func placeOf(slot uint64) uint32 { return uint32(slot) }

// forget removes the rows of a hash and tells how many there were.
func (b *bucket) forget(hash uint64) (n int64) {
	for i := range b.slots {
		slot := b.slots[i].Load()
		if slot != 0 && slot&hashMask == hash&hashMask && b.slots[i].Swap(0) != 0 {
			n++
		}
	}
	return n
}

// find gives the slot of the row at a place, or -1.
func (b *bucket) find(hash uint64, place uint32) int {
	for i := range b.slots {
		if b.slots[i].Load()&^used == slotOf(hash, place) {
			return i
		}
	}
	return -1
}

// lock keeps readers from hits, whatever the publisher does meanwhile. It is called under the shard's lock.
func (b *bucket) lock() { b.stamp.Or(locked) }

// unlock also changes the stamp.
func (b *bucket) unlock() { b.stamp.Add(change + locked) } // the lock's bit overflows

// table is where the rows of a shard are. Its fields are replaced together, never changed. Chunks are several segments each, so that
// there are few of them, and the processor has them at hand.
type table struct {
	buckets []bucket // a power of two
	shift   uint     // of a hash, to the number of a bucket
	chunks  [][]atomic.Uint64
	bits    uint // of the number of words in a chunk
}

func (t *table) bucket(hash uint64) *bucket { return &t.buckets[hash>>t.shift] }

// row gives the words of a chunk from a place on.
func (t *table) row(place uint32) []atomic.Uint64 {
	word := place - 1
	return t.chunks[word>>t.bits][word&(1<<t.bits-1):]
}

// lock keeps readers from hits for ever: the rows will be overwritten, by others than this table's (RW3).
func (t *table) lock() {
	for i := range t.buckets {
		t.buckets[i].lock()
	}
}
