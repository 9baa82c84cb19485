package table

import (
	"encoding/binary"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// index finds the data block for a key. Between two blocks it has a separator: the shortest start of the second one's first
// key that is behind the first one's last key. Where both are rows of one user key, the separator is the first row's whole
// key with its time. It is kept as the columns of the file have it, with a tree over the first eight bytes of the separators,
// all of it outside of any cache.
type index struct {
	data  []byte
	count int // of blocks; the separators are one fewer
	keys  keys
	time  [2]column // of separators: the complement of version and sequence, zero for a place before all rows of the key
	ends  column    // of the blocks' frames in the file; the first one starts at 0
	raws  column    // lengths of the blocks before compression
	fars  column    // how many bytes of frames of values lie before each block's frame and behind the block before
	heads tree      // the first bytes of the separators behind their prefix
}

// head is the first eight bytes of a key as a number that sorts as they do.
func head(rest []byte) uint64 {
	if len(rest) >= 8 {
		return binary.BigEndian.Uint64(rest)
	}
	var padded [8]byte
	copy(padded[:], rest)
	return binary.BigEndian.Uint64(padded[:])
}

// indexBuilder gathers the separators and the places of blocks.
type indexBuilder struct {
	keys    keysBuilder
	times   [2][]uint64
	ends    []uint64
	raws    []uint64
	fars    []uint64
	apart   bool // fars are not all zero
	columns columnWriter
}

// separate notes where the next block begins: last is the last row of the one before.
func (b *indexBuilder) separate(last, first *record.Key) {
	common := commonPrefix(last.User, first.User)
	if len(last.User) == len(first.User) && common == len(first.User) {
		b.keys.add(first.User)
		b.times[0] = append(b.times[0], ^first.Version)
		b.times[1] = append(b.times[1], ^first.Sequence)
		return
	}
	b.keys.add(first.User[:common+1])
	b.times[0], b.times[1] = append(b.times[0], 0), append(b.times[1], 0)
}

// add notes a block, before which so many bytes of its values lie.
func (b *indexBuilder) add(h handle, far uint64) {
	b.ends = append(b.ends, h.offset+uint64(h.stored)+frameBytes)
	b.raws = append(b.raws, uint64(h.raw))
	b.fars = append(b.fars, far)
	b.apart = b.apart || far > 0
}

// size is about what finish would give now.
func (b *indexBuilder) size() int { return b.keys.size() + 5*len(b.ends) }

// finish gives the index; its columns are shared and starts of the separators' keys, their times, ends and raws, and fars if any value
// stands apart. Keys, header and trailer, which counts blocks, are those of a block of rows.
func (b *indexBuilder) finish() []byte {
	w := &b.columns
	w.header = binary.AppendUvarint(w.header[:0], uint64(b.keys.prefix))
	b.keys.lay(w)
	for _, numbers := range [][]uint64{b.times[0], b.times[1], b.ends, b.raws} {
		w.add(numbers)
	}
	if b.apart {
		w.add(b.fars)
	}
	w.body = append(w.body, b.keys.bytes[:b.keys.prefix]...)
	w.body = append(w.body, b.keys.own...)
	return w.finish(len(b.ends))
}

// parseIndex checks the bytes of an index of data blocks that end at a place of the file (B2).
func parseIndex(data []byte, end uint64) (*index, error) {
	r, count, limit, ok := openColumns(data)
	if !ok || count < 1 || uint64(count) > end/frameBytes {
		return nil, errBlock
	}
	x := &index{data: data, count: count}
	prefix, ok := r.length()
	if !ok || !x.keys.parse(&r, count-1) {
		return nil, errBlock
	}
	for _, c := range []struct {
		column *column
		count  int
	}{{&x.time[0], count - 1}, {&x.time[1], count - 1}, {&x.ends, count}, {&x.raws, count}} {
		if *c.column, ok = r.next(c.count); !ok {
			return nil, errBlock
		}
	}
	if len(r.header) > 0 {
		if x.fars, ok = r.next(count); !ok {
			return nil, errBlock
		}
	}
	at, ok := x.keys.settle(data, r.at, prefix, limit)
	if !ok || at != limit || len(r.header) != 0 || !x.checkPlaces(end) {
		return nil, errBlock
	}
	x.plant()
	return x, nil
}

// checkPlaces makes sure that the blocks fill the file up to end, and that none may be too large.
func (x *index) checkPlaces(end uint64) bool {
	before := uint64(0)
	for i := range x.count {
		next, far := x.ends.get(x.data, i), x.fars.get(x.data, i)
		if next < before+frameBytes || next > end || far > next-before-frameBytes || next-before-far-frameBytes > maxBlockBytes || x.raws.get(x.data, i) > maxBlockBytes {
			return false
		}
		before = next
	}
	return before == end
}

// plant makes the tree.
func (x *index) plant() {
	heads := make([]uint64, x.keys.count)
	var key []byte
	for i := range heads {
		key = x.keys.whole(key[:0], x.data, i)
		heads[i] = head(key[len(x.keys.prefix):])
	}
	x.heads = newTree(heads)
}

// start is where what belongs to a block begins: the values that stand apart, and then the block.
func (x *index) start(i int) uint64 {
	if i == 0 {
		return 0
	}
	return x.ends.get(x.data, i-1)
}

// handle gives the place of a block.
func (x *index) handle(i int) handle {
	offset := x.start(i) + x.fars.get(x.data, i)
	end := x.ends.get(x.data, i)
	return handle{offset: offset, stored: uint32(end - offset - frameBytes), raw: uint32(x.raws.get(x.data, i))}
}

// find gives the block where the first row at or after k is, if not at the start of the next one: as many separators
// are not behind k as there are blocks before it.
func (x *index) find(k *record.Key) int {
	rest, place, ok := x.keys.cut(k.User)
	if !ok || x.keys.count == 0 {
		return place
	}
	i, more := x.place(rest)
	if !more || i == x.keys.count || x.keys.compare(x.data, i, rest) != 0 {
		return i
	}
	low, high := i, i+1 // separators of this very user key
	if high < x.keys.count && x.keys.compare(x.data, high, rest) == 0 {
		high, _ = x.keys.find(x.data, k.User, true)
	}
	for low < high {
		middle := int(uint(low+high) / 2)
		if x.reaches(middle, k) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// reaches reports whether a separator of k's user key is not behind k.
func (x *index) reaches(i int, k *record.Key) bool {
	version, sequence := x.time[0].get(x.data, i), x.time[1].get(x.data, i)
	return version < ^k.Version || version == ^k.Version && sequence <= ^k.Sequence
}

// place counts the separators whose user key is before a key, and tells whether the next one may be equal.
func (x *index) place(rest []byte) (i int, more bool) {
	h := head(rest)
	low := x.heads.find(h)
	heads := x.heads.levels[0]
	if low == len(heads) || heads[low] != h {
		return low, false
	}
	high := len(heads)
	if h+1 != 0 {
		high = x.heads.find(h + 1)
	}
	for low < high {
		middle := int(uint(low+high) / 2)
		if x.keys.compare(x.data, middle, rest) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, true
}

// spans reports whether the rows of a user key go on in block i, and not begin there.
func (x *index) spans(i int, user []byte) bool {
	if i == 0 || x.time[0].get(x.data, i-1) == 0 && x.time[1].get(x.data, i-1) == 0 {
		return false
	}
	rest, _, ok := x.keys.cut(user)
	return ok && x.keys.compare(x.data, i-1, rest) == 0
}

// bytes is what the index takes in memory.
func (x *index) bytes() int { return len(x.data) + x.heads.bytes() }
