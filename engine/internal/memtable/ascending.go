package memtable

import (
	"bytes"
	"sort"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// A memtable begins without an index, as long as each key is behind all before it: then the rows themselves are sorted, so
// that a load of sorted keys pays neither for the index nor for sorting. The first key that is not behind the others, or the first read,
// has the index made by the next batch. A search costs some times as much as a look into the index.

// ascends reports whether the keys of a batch are behind all keys so far, in a memtable without an index.
func (m *Memtable) ascends(buf []byte, rows []Ref) bool {
	var before []byte
	if m.arena.count > 0 {
		before = m.user(uint32(m.arena.count))
	}
	for _, r := range rows {
		user, rest := rowKey(buf[r.Offset:])
		if bytes.Compare(before, user) >= 0 || record.Kind(rest[0]) == record.DeleteRange {
			return false
		}
		before = user
	}
	return true
}

// makeIndex ends the time without an index. Readers who found none find no row but those that were there, in which they may search on.
func (m *Memtable) makeIndex() {
	x := newIndex(slotsFor(max(m.expected, m.keys)))
	for row := uint32(1); row <= uint32(m.arena.count); row++ {
		hash := m.arena.node(row).hash
		at := x.first(hash)
		for x.slots[at].Load() != 0 {
			at = x.after(at)
		}
		x.slots[at].Store(slotOf(hash, row))
	}
	m.index.Store(x) // T2, T3
}

// search finds the row of a key among the ascending ones, or none. All that the sequence of a reader covers who found no index are
// among them.
func (m *Memtable) search(user []byte) uint32 {
	if !m.searched.Load() {
		m.searched.Store(true)
	}
	count := int(m.ascending.Load())
	if count == 0 || bytes.Compare(m.user(uint32(count)), user) < 0 {
		return none
	}
	row := uint32(sort.Search(count, func(i int) bool { return bytes.Compare(m.user(uint32(i+1)), user) >= 0 }) + 1)
	if bytes.Equal(m.user(row), user) {
		return row
	}
	return none
}
