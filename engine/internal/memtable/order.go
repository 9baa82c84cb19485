package memtable

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
)

const entryBytes = 16

// entry is a key in an order. Its code sorts as the key does, but keys that differ may have the
// same one, see encode.
type entry struct {
	code uint64
	row  uint32 // the first row of the key
	hash uint32
}

// order is the keys of the first rows of a memtable, sorted. Immutable. The keys are in two sorted parts
// so that a few new ones do not move all others.
type order struct {
	rows   uint32 // how many
	base   []byte // of the codes
	old    []entry
	recent []entry
}

func (o *order) bytes() int { return (len(o.old) + len(o.recent)) * entryBytes }

// ordered gives an order of all rows linked so far. Who needs one makes it of the last one and the rows
// since, without a lock: of several who do so at once one publishes its own, and each is right.
func (m *Memtable) ordered() *order {
	o, rows := m.order.Load(), m.rows.Load()
	if o.rows >= rows {
		return o
	}
	next := m.extend(o, rows)
	m.order.CompareAndSwap(o, next)
	return next
}

// extend makes the order of more rows. Many new keys are sorted for O(n log n); a few cost a copy of
// the recent part, which is some times the root of the old one, and now and then one of the old one: so
// ordered reads between single writes do not become quadratic.
func (m *Memtable) extend(o *order, rows uint32) *order {
	next := &order{rows: rows, base: o.base, old: o.old, recent: o.recent}
	var fresh []entry
	for row := o.rows + 1; row <= rows; row++ {
		if n := m.arena.node(row); n.chunk&firstRow != 0 {
			fresh = append(fresh, entry{row: row, hash: n.hash})
		}
	}
	if len(fresh) == 0 {
		return next
	}
	all := len(o.old)+len(o.recent) == 0
	if len(fresh) > len(o.old)+len(o.recent) {
		next.base = m.commonBase(fresh)
		next.old, next.recent = m.encodeAll(next.base, o.old), m.encodeAll(next.base, o.recent)
	}
	for i := range fresh {
		fresh[i].code = encode(next.base, m.user(fresh[i].row))
	}
	next.recent = m.merge(next.recent, m.sort(fresh))
	const spread = 16 // a recent part of 4 roots: 860 keys beside 46,000
	if len(next.recent)*len(next.recent) > spread*len(next.old) {
		grown := !all && len(next.recent) > len(next.old)
		next.old, next.recent = m.merge(next.old, next.recent), nil
		if grown {
			next.base = m.commonBase(next.old)
			next.old = m.encodeAll(next.base, next.old)
		}
	}
	return next
}

// commonBase is what the middle half of a sample of the keys begins with: what comes after it tells
// most keys apart, and a few that are different, such as system rows, do not spoil it.
func (m *Memtable) commonBase(entries []entry) []byte {
	const samples = 32
	sample := make([][]byte, 0, samples)
	for i := range min(samples, len(entries)) {
		sample = append(sample, m.user(entries[i*len(entries)/min(samples, len(entries))].row))
	}
	slices.SortFunc(sample, bytes.Compare)
	low, high := sample[len(sample)/4], sample[len(sample)*3/4]
	n := 0
	for n < len(low) && n < len(high) && low[n] == high[n] {
		n++
	}
	return bytes.Clone(low[:n])
}

// encode gives a number for a key that is not lower for a later key (T5): the eight bytes after the base, or
// the least or the greatest number for a key before or behind all that begin with the base.
func encode(base, user []byte) uint64 {
	rest, ok := bytes.CutPrefix(user, base)
	switch {
	case !ok && bytes.Compare(user, base) < 0:
		return 0
	case !ok:
		return ^uint64(0)
	case len(rest) >= 8:
		return binary.BigEndian.Uint64(rest)
	}
	var padded [8]byte
	copy(padded[:], rest)
	return binary.BigEndian.Uint64(padded[:])
}

// encodeAll is a copy of entries with codes of another base.
func (m *Memtable) encodeAll(base []byte, entries []entry) []entry {
	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].code = encode(base, m.user(entries[i].row))
	}
	return entries
}

// compare orders two entries with codes of one base.
func (m *Memtable) compare(a, b entry) int {
	if a.code != b.code {
		return cmp.Compare(a.code, b.code)
	}
	return bytes.Compare(m.user(a.row), m.user(b.row))
}

// sort may change entries; the result is another slice. Ascending keys are sorted as they come. Many others are sorted by
// their codes first, one byte after the other from the lowest: that is five times as fast as comparing them.
func (m *Memtable) sort(entries []entry) []entry {
	const few = 256
	if ascending(entries) {
		return entries
	}
	if len(entries) < few {
		slices.SortFunc(entries, m.compare)
		return entries
	}
	entries = sortByCode(entries)
	for start := 0; start < len(entries); {
		end := start + 1
		for end < len(entries) && entries[end].code == entries[start].code {
			end++
		}
		if end-start > 1 {
			slices.SortFunc(entries[start:end], m.compare)
		}
		start = end
	}
	return entries
}

// ascending reports whether the codes alone say that entries are sorted.
func ascending(entries []entry) bool {
	for i := 1; i < len(entries); i++ {
		if entries[i-1].code >= entries[i].code {
			return false
		}
	}
	return true
}

// sortByCode is a radix sort.
func sortByCode(entries []entry) []entry {
	const digits = 8
	var counts [digits][256]int
	for _, e := range entries {
		for d := range digits {
			counts[d][byte(e.code>>(8*d))]++
		}
	}
	other := make([]entry, len(entries))
	for d := range digits {
		places := &counts[d]
		if places[byte(entries[0].code>>(8*d))] == len(entries) {
			continue // all the same
		}
		next := 0
		for i, n := range places {
			places[i] = next
			next += n
		}
		for _, e := range entries {
			place := &places[byte(e.code>>(8*d))]
			other[*place] = e
			*place++
		}
		entries, other = other, entries
	}
	return entries
}

// merge makes one sorted part of two that have no key in common. It is fast when there are few more.
func (m *Memtable) merge(entries, more []entry) []entry {
	if len(entries) == 0 {
		return more
	}
	merged := make([]entry, 0, len(entries)+len(more))
	for _, e := range more {
		n := m.below(entries, e)
		merged = append(append(merged, entries[:n]...), e)
		entries = entries[n:]
	}
	return append(merged, entries...)
}

// below counts the entries before another, which is found sooner if they are few.
func (m *Memtable) below(entries []entry, e entry) int {
	end := 1
	for end < len(entries) && m.compare(entries[end-1], e) < 0 {
		end *= 2
	}
	start := end / 2
	return start + sort.Search(min(end, len(entries))-start, func(i int) bool {
		return m.compare(entries[start+i], e) >= 0
	})
}

// before counts the entries of a part before a key, or up to it.
func (m *Memtable) before(o *order, entries []entry, user []byte, inclusive bool) int {
	code := encode(o.base, user)
	return sort.Search(len(entries), func(i int) bool {
		if e := entries[i]; e.code != code {
			return e.code > code
		}
		c := bytes.Compare(m.user(entries[i].row), user)
		return c > 0 || c == 0 && !inclusive
	})
}

// newestOf gives the newest row of an entry's key.
func (m *Memtable) newestOf(e entry) uint32 {
	if m.arena.node(e.row).older.Load()&replaced == 0 {
		return e.row // most often, and without a look into the index
	}
	return m.newest(m.user(e.row), e.hash)
}
