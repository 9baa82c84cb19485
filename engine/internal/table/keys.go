package table

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
)

// groupRows is how many keys share what they have in common with the first of them. Measured: see decision 0021.
const groupRows = 16

// keys are the sorted keys of a block. All of them begin with prefix; the first of a group is otherwise whole, and another
// one is the first's first bytes, as many as shared says, and its own. So any key is found without those before it.
type keys struct {
	count  int
	prefix []byte
	shared column // of each key, behind the prefix
	starts column // of each key's own bytes in the block, and where the last ones end
}

// own gives the bytes of a key that are not shared.
func (k *keys) own(data []byte, i int) []byte {
	return data[k.starts.get(data, i):k.starts.get(data, i+1)]
}

// compare compares a key with another one, without the prefix of both.
func (k *keys) compare(data []byte, i int, rest []byte) int {
	shared := int(k.shared.get(data, i))
	if shared > 0 {
		first := k.own(data, i&^(groupRows-1))[:shared]
		if c := bytes.Compare(first, rest[:min(shared, len(rest))]); c != 0 {
			return c
		}
	}
	return bytes.Compare(k.own(data, i), rest[shared:])
}

// cut takes the prefix from a key. If it does not begin with it, all keys are behind it, or all are before it.
func (k *keys) cut(user []byte) (rest []byte, place int, ok bool) {
	n := len(k.prefix)
	if len(user) >= n && string(user[:n]) == string(k.prefix) {
		return user[n:], 0, true
	}
	if bytes.Compare(user, k.prefix) < 0 {
		return nil, 0, false
	}
	return nil, k.count, false
}

// find gives the first key that is not before another one, and whether it is equal; with behind it gives the first one
// behind it.
func (k *keys) find(data, user []byte, behind bool) (i int, equal bool) {
	rest, place, ok := k.cut(user)
	if !ok || k.count == 0 {
		return place, false
	}
	bound := 0 // keys that compare below it are skipped
	if behind {
		bound = 1
	}
	if k.shared.constant() { // no key shares anything
		i = k.search(data, rest, 1, k.count, bound)
		return i, !behind && i < k.count && bytes.Equal(k.own(data, i), rest)
	}
	low := k.search(data, rest, groupRows, (k.count+groupRows-1)/groupRows, bound)
	if low == 0 {
		return 0, !behind && bytes.Equal(k.own(data, 0), rest)
	}
	end := min(low*groupRows, k.count)
	i = k.findInGroup(data, rest, (low-1)*groupRows, end, bound)
	equal = !behind && i < k.count && k.compare(data, i, rest) == 0
	return i, equal
}

// search finds the first of every so many keys, of a number of them, that is not skipped. They are whole.
func (k *keys) search(data, rest []byte, every, count, bound int) int {
	low, high := 0, count
	for low < high {
		middle := int(uint(low+high) / 2)
		if bytes.Compare(k.own(data, middle*every), rest) < bound {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// findInGroup finds the first key from behind a group's first one, which is skipped, to end. A key that shares
// more with the first one than rest does is on the first one's side of rest, and one that shares less is on the other.
func (k *keys) findInGroup(data, rest []byte, first, end, bound int) int {
	common := commonPrefix(k.own(data, first), rest)
	low, high := first+1, end
	for low < high {
		middle := int(uint(low+high) / 2)
		shared := int(k.shared.get(data, middle))
		if shared > common || shared == common && bytes.Compare(k.own(data, middle), rest[common:]) < bound {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// whole appends a key to dst.
func (k *keys) whole(dst, data []byte, i int) []byte {
	dst = append(dst, k.prefix...)
	if shared := k.shared.get(data, i); shared > 0 {
		dst = append(dst, k.own(data, i&^(groupRows-1))[:shared]...)
	}
	return append(dst, k.own(data, i)...)
}

// parse reads the columns of so many keys, whose bytes begin where columns end; those are not parsed then.
func (k *keys) parse(r *columnReader, count int) bool {
	var ok1, ok2 bool
	k.count = count
	k.shared, ok1 = r.next(count)
	k.starts, ok2 = r.next(count + 1)
	return ok1 && ok2
}

// settle says where the bytes of the keys are. It checks all keys, and gives where they end.
func (k *keys) settle(data []byte, at, prefixLength, limit int) (end int, ok bool) {
	if prefixLength > limit-at {
		return 0, false
	}
	k.prefix = data[at : at+prefixLength : at+prefixLength]
	at += prefixLength
	k.starts.base += uint64(at)
	before, most := uint64(at), uint64(0)
	if k.starts.get(data, 0) != before {
		return 0, false
	}
	for i := range k.count {
		next := k.starts.get(data, i+1)
		shared := k.shared.get(data, i)
		if next < before || next > uint64(limit) || shared > most && i%groupRows != 0 || i%groupRows == 0 && shared != 0 {
			return 0, false
		}
		if most = shared; i%groupRows == 0 {
			most = next - before
		}
		before = next
	}
	return int(before), true
}

// commonPrefix counts the bytes at the start of two keys that are equal.
func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// keysBuilder gathers keys in order.
type keysBuilder struct {
	bytes  []byte
	ends   []int
	prefix int // what all keys have in common

	// Of lay.
	shared, starts []uint64
	own            []byte
}

func (b *keysBuilder) add(user []byte) {
	if len(b.ends) == 0 {
		b.prefix = len(user)
	} else {
		b.prefix = commonPrefix(b.bytes[:b.prefix], user)
	}
	b.bytes = append(b.bytes, user...)
	b.ends = append(b.ends, len(b.bytes))
}

// size is about what the keys take in the block.
func (b *keysBuilder) size() int {
	return len(b.bytes) - max(0, len(b.ends)-1)*b.prefix + 2*len(b.ends)
}

func (b *keysBuilder) reset() { b.bytes, b.ends, b.prefix = b.bytes[:0], b.ends[:0], 0 }

// lay writes the columns; own is then what comes behind the prefix.
func (b *keysBuilder) lay(w *columnWriter) {
	whole := b.wholeCost()
	const cheap = 3 // the columns alone take two bytes
	share := whole > cheap*len(b.ends)
	b.split(share)
	if share && b.cost() > whole {
		b.split(false)
	}
	w.add(b.shared)
	w.add(b.starts)
}

// split parts the keys into what they share with the first of their group, if they are to, and their own bytes.
func (b *keysBuilder) split(share bool) {
	b.shared, b.starts, b.own = b.shared[:0], append(b.starts[:0], 0), b.own[:0]
	var first []byte
	start := 0
	for i, end := range b.ends {
		rest := b.bytes[start+b.prefix : end]
		shared := 0
		if i%groupRows == 0 {
			first = rest
		} else if share {
			shared = commonPrefix(first, rest)
		}
		b.shared = append(b.shared, uint64(shared))
		b.own = append(b.own, rest[shared:]...)
		b.starts = append(b.starts, uint64(len(b.own)))
		start = end
	}
}

// cost is what the keys take as they are split.
func (b *keysBuilder) cost() int {
	return len(b.own) + len(b.ends)*int(fit(b.shared).width+fit(b.starts).width)
}

// wholeCost is what the keys would take if none shared anything, where they are of one length: then they need
// neither column. Others gain less than they lose.
func (b *keysBuilder) wholeCost() int {
	if len(b.ends) == 0 {
		return 0
	}
	length := b.ends[0]
	for i, end := range b.ends {
		if end != (i+1)*length {
			return math.MaxInt
		}
	}
	return len(b.ends) * (length - b.prefix)
}
