package memtable

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// Memtable holds rows in the order O1. Add is for one goroutine at a time; everything else is
// safe for any number, also during Add.
type Memtable struct {
	arena arena
	index atomic.Pointer[index] // nil while keys ascend
	order atomic.Pointer[order]
	rows  atomic.Uint32 // how many are linked
	least atomic.Uint64 // version; MaxVersion while empty
	// How many of the rows came with ascending keys, before there was an index.
	ascending atomic.Uint32
	searched  atomic.Bool // somebody looked for a key among them
	seed      maphash.Seed
	ranges    atomic.Pointer[rangedel.Set] // nil without any

	// Written by the first Add, before its rows are linked.
	first uint64 // sequence of the first row

	// Owned by the writer.
	keys     int
	expected int      // keys that the index has room for at once
	hashes   []uint32 // of the batch that is added
	ranged   bool     // it has range tombstones
}

// New makes an empty memtable. Once it has an index, that has room for some keys before it grows.
func New(keys int) *Memtable {
	m := &Memtable{seed: maphash.MakeSeed(), expected: keys}
	m.least.Store(record.MaxVersion)
	m.order.Store(&order{})
	m.arena.init()
	return m
}

// Bytes is how much memory the rows, their nodes, the index and the order use.
func (m *Memtable) Bytes() int {
	bytes := int(m.arena.used.Load()) + m.order.Load().bytes()
	if x := m.index.Load(); x != nil {
		bytes += x.bytes() - minIndexSlots*slotBytes
	}
	return bytes
}

// Ranges are the range tombstones added so far. A reader sees those that its sequence covers.
func (m *Memtable) Ranges() *rangedel.Set { return m.ranges.Load() }

// Rows is how many rows there are, range tombstones among them.
func (m *Memtable) Rows() int { return int(m.rows.Load()) }

// Keys is how many keys have rows. It is for the writer.
func (m *Memtable) Keys() int { return m.keys }

// LeastVersion is the lowest version of a row, or MaxVersion.
func (m *Memtable) LeastVersion() uint64 { return m.least.Load() }

// Empty reports whether no row was added yet.
func (m *Memtable) Empty() bool { return m.rows.Load() == 0 }

// Add inserts the rows of a batch. Row i gets the sequence first+i, and first follows the last row
// added before (T4). It tells whether the memtable keeps buf itself; the caller must then not
// write to it any more.
func (m *Memtable) Add(buf []byte, rows []Ref, first uint64) (adopted bool) {
	if len(rows) == 0 {
		return false
	}
	if m.arena.count == 0 {
		m.first = first
	}
	ascends := m.index.Load() == nil && !m.searched.Load() && m.ascends(buf, rows)
	if m.index.Load() == nil && !ascends {
		m.makeIndex()
	}
	chunk, start, adopted := m.arena.addData(buf)
	m.touch(buf, rows)
	least := m.least.Load()
	for _, r := range rows {
		least = min(least, r.Version)
	}
	m.least.Store(least)
	for i, r := range rows {
		row := m.arena.newNode()
		n := m.arena.node(row)
		n.version, n.chunk, n.offset, n.hash = r.Version, chunk, uint32(start+r.Offset), m.hashes[i]
		switch {
		case ascends:
			n.chunk |= firstRow
		case m.ranged && kindOf(buf[r.Offset:]) == record.DeleteRange:
			m.addRange(row, n)
		default:
			m.insert(row, n)
		}
	}
	if ascends {
		m.keys = m.arena.count
		m.ascending.Store(uint32(m.arena.count)) // T2
	}
	m.arena.used.Add(int64(len(buf) + nodeBytes*len(rows)))
	m.rows.Store(uint32(m.arena.count))
	return adopted
}

// addRange adds a range tombstone, which has a node for its sequence (T4) and is found by nobody who looks for rows.
func (m *Memtable) addRange(row uint32, n *node) {
	var r record.Row
	decodeRow(m.arena.row(n), &r)
	set := m.ranges.Load()
	next := set.With(rangedel.Tombstone{Start: r.User, End: r.Value, Version: n.version, Sequence: m.time(row).Sequence})
	m.arena.used.Add(int64(next.Bytes() - set.Bytes()))
	m.ranges.Store(next) // T3
}

// touch computes the hashes of a batch's keys and looks at their slots. The looks do not depend on each
// other, so the processor waits for the memory of several at once; insert finds it in the cache.
func (m *Memtable) touch(buf []byte, rows []Ref) {
	m.hashes, m.ranged = m.hashes[:0], false
	x := m.index.Load()
	for _, r := range rows {
		user, rest := rowKey(buf[r.Offset:])
		m.ranged = m.ranged || record.Kind(rest[0]) == record.DeleteRange
		hash := m.hash(user)
		if x != nil {
			x.slots[x.first(hash)].Load()
		}
		m.hashes = append(m.hashes, hash)
	}
}

// insert links a row: to the other rows of its key, or as the first of a new one.
func (m *Memtable) insert(row uint32, n *node) {
	user, _ := rowKey(m.arena.row(n))
	x := m.index.Load()
	for at := x.first(n.hash); ; at = x.after(at) {
		slot := x.slots[at].Load()
		switch {
		case slot == 0:
			m.insertKey(row, n, at)
			return
		case uint32(slot>>32) == n.hash && bytes.Equal(m.user(uint32(slot)), user):
			m.link(row, n, &x.slots[at])
			return
		}
	}
}

// insertKey puts the first row of a key into the index, at a slot or, if that grows, at another.
func (m *Memtable) insertKey(row uint32, n *node, at int) {
	n.chunk |= firstRow
	m.keys++
	x := m.index.Load()
	if 2*m.keys <= len(x.slots) {
		x.slots[at].Store(slotOf(n.hash, row)) // T2: linked only now
		return
	}
	x = x.grown()
	for at = x.first(n.hash); x.slots[at].Load() != 0; {
		at = x.after(at)
	}
	x.slots[at].Store(slotOf(n.hash, row))
	m.index.Store(x) // T2, T3
}

// link puts a row into its place among those of its key: the first, unless versions come out of
// order. Rows of one version stand in the order of their sequences, the last one first.
func (m *Memtable) link(row uint32, n *node, slot *atomic.Uint64) {
	newest := uint32(slot.Load())
	before := m.arena.node(newest)
	if before.version <= n.version {
		n.older.Store(newest)
		if before.chunk&firstRow != 0 {
			before.older.Store(before.older.Load() | replaced)
		}
		slot.Store(slotOf(n.hash, row)) // T2: linked only now
		return
	}
	for {
		link := before.older.Load()
		next := link &^ replaced
		if next == none || m.arena.node(next).version <= n.version {
			n.older.Store(next)
			before.older.Store(row | link&replaced) // T2: linked only now
			return
		}
		before = m.arena.node(next)
	}
}

func (m *Memtable) hash(user []byte) uint32 { return uint32(maphash.Bytes(m.seed, user)) }

// find gives the newest row of a key, or none.
func (m *Memtable) find(user []byte) uint32 { return m.newest(user, m.hash(user)) }

// newest is find for who knows the hash of the key.
func (m *Memtable) newest(user []byte, hash uint32) uint32 {
	x := m.index.Load()
	if x == nil {
		return m.search(user)
	}
	for at := x.first(hash); ; at = x.after(at) {
		slot := x.slots[at].Load()
		row := uint32(slot)
		if slot == 0 || uint32(slot>>32) == hash && bytes.Equal(m.user(row), user) {
			return row
		}
	}
}

func (m *Memtable) older(row uint32) uint32 { return m.arena.node(row).older.Load() &^ replaced }

// user gives the key of a row.
func (m *Memtable) user(row uint32) []byte {
	user, _ := rowKey(m.arena.row(m.arena.node(row)))
	return user
}

// time gives the version and the sequence of a row.
func (m *Memtable) time(row uint32) record.Key {
	return record.Key{Version: m.arena.node(row).version, Sequence: m.first + uint64(row) - 1} // T4
}

func (m *Memtable) row(row uint32, r *record.Row) {
	decodeRow(m.arena.row(m.arena.node(row)), r)
	t := m.time(row)
	r.Version, r.Sequence = t.Version, t.Sequence
}

// Has reports whether a user key has any row.
func (m *Memtable) Has(user []byte) bool { return !m.Empty() && m.find(user) != none }

// Get finds the newest row of a user key with a version and a sequence not above at's.
func (m *Memtable) Get(at record.Key, r *record.Row) bool {
	for row := m.find(at.User); row != none; row = m.older(row) {
		t := m.time(row)
		if seededbug.Enabled(seededbug.EngineReadNextVersion) {
			t.Version--
		}
		if t.Version <= at.Version && t.Sequence <= at.Sequence {
			m.row(row, r)
			return true
		}
	}
	return false
}
