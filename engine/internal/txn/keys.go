package txn

import (
	"bytes"
	"hash/maphash"
)

const (
	// scanned is up to how many keys a look at each of them is no slower than a hash: most transactions have no more.
	scanned = 8

	minSlots = 32
)

// Keys is a set of keys, numbered from 0 on in the order in which they came (TX1).
type Keys struct {
	bytes []byte
	ends  []int
	slots []uint32 // numbers plus one, by hash; unused up to so many keys as are scanned
	seed  maphash.Seed
}

// Len is how many keys there are.
func (k *Keys) Len() int { return len(k.ends) }

// Bytes is about how much memory the keys take.
func (k *Keys) Bytes() int { return len(k.bytes) + 16*len(k.ends) }

// At gives a key by its number. It is read-only.
func (k *Keys) At(i int) []byte {
	start := 0
	if i > 0 {
		start = k.ends[i-1]
	}
	return k.bytes[start:k.ends[i]:k.ends[i]]
}

// Find gives the number of a key, or -1.
func (k *Keys) Find(key []byte) int {
	if len(k.slots) == 0 {
		for i := range k.ends {
			if bytes.Equal(k.At(i), key) {
				return i
			}
		}
		return -1
	}
	return int(k.slots[k.slot(key)]) - 1
}

// slot is where a key is, or belongs.
func (k *Keys) slot(key []byte) int {
	mask := len(k.slots) - 1
	at := int(maphash.Bytes(k.seed, key)) & mask
	for k.slots[at] != 0 && !bytes.Equal(k.At(int(k.slots[at])-1), key) {
		at = (at + 1) & mask
	}
	return at
}

// Add notes a key and gives its number.
func (k *Keys) Add(key []byte) int {
	if i := k.Find(key); i >= 0 {
		return i
	}
	k.bytes = append(k.bytes, key...)
	k.ends = append(k.ends, len(k.bytes))
	switch n := len(k.ends); {
	case n <= scanned:
	case 2*n > len(k.slots):
		k.index(max(minSlots, 2*len(k.slots)))
	default:
		k.slots[k.slot(key)] = uint32(n)
	}
	return len(k.ends) - 1
}

// index makes the slots anew.
func (k *Keys) index(slots int) {
	if len(k.slots) == 0 {
		k.seed = maphash.MakeSeed()
	}
	k.slots = make([]uint32, slots)
	for i := range k.ends {
		k.slots[k.slot(k.At(i))] = uint32(i + 1)
	}
}

// Reset forgets all keys.
func (k *Keys) Reset() { k.bytes, k.ends, k.slots = k.bytes[:0], k.ends[:0], nil }
