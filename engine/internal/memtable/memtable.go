package memtable

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// Words of a key's node before its tower of links.
const (
	keyChunk  = iota // where a row with the key is
	keyOffset        // within the chunk
	keyNewest        // its first row in the order of time
	keyTower
)

// Words of a row's node.
const (
	rowChunk = iota
	rowOffset
	rowVersionHigh
	rowVersionLow
	rowSequenceHigh
	rowSequenceLow
	rowOlder // the next row of the key
	rowWords
)

const (
	// maxHeight levels with one node in four rising suit 4^12 keys, far more than fit.
	maxHeight = 12
	none      = uint32(0) // the head's own reference: nothing links to it
)

// Memtable holds rows in the order O1. Add is for one goroutine at a time; everything else is
// safe for any number, also during Add.
type Memtable struct {
	arena arena
	index atomic.Pointer[index]
	seed  maphash.Seed
	least atomic.Uint64 // version; MaxVersion while empty

	// Owned by the writer.
	keys   int
	random uint64            // xorshift state for tower heights; the same for every memtable, so runs repeat
	last   [maxHeight]uint32 // the path to the place of the last insertion
}

// New makes an empty memtable.
func New() *Memtable {
	m := &Memtable{random: 0x9E3779B97F4A7C15, seed: maphash.MakeSeed()}
	m.least.Store(record.MaxVersion)
	m.index.Store(newIndex(minIndexSlots))
	m.arena.init()
	m.arena.newNode(keyTower + maxHeight) // the head, reference 0
	return m
}

// Bytes is how much memory the rows, their nodes and the index use.
func (m *Memtable) Bytes() int {
	return int(m.arena.used.Load()) + m.index.Load().bytes() - minIndexSlots*slotBytes
}

// LeastVersion is the lowest version of a row, or MaxVersion.
func (m *Memtable) LeastVersion() uint64 { return m.least.Load() }

// Empty reports whether no row was added yet.
func (m *Memtable) Empty() bool { return m.next(none, 0) == none }

// Add inserts the rows of a batch. Row i gets the sequence first+i. It tells whether the
// memtable keeps buf itself; the caller must then not write to it any more.
func (m *Memtable) Add(buf []byte, rows []Ref, first uint64) (adopted bool) {
	if len(rows) == 0 {
		return false
	}
	chunk, start, adopted := m.arena.addData(buf)
	for i, r := range rows {
		if r.Version < m.least.Load() {
			m.least.Store(r.Version)
		}
		m.insert(chunk, start+r.Offset, r.Version, first+uint64(i))
	}
	return adopted
}

func (m *Memtable) insert(chunk uint32, offset int, version, sequence uint64) {
	user, _ := rowKey((*m.arena.data.Load())[chunk][offset:])
	row := m.arena.newNode(rowWords)
	n := m.arena.node(row)
	n[rowChunk].Store(chunk)
	n[rowOffset].Store(uint32(offset))
	n[rowVersionHigh].Store(uint32(version >> 32))
	n[rowVersionLow].Store(uint32(version))
	n[rowSequenceHigh].Store(uint32(sequence >> 32))
	n[rowSequenceLow].Store(uint32(sequence))
	hash := m.hash(user)
	if key := m.find(user, hash); key != none {
		m.link(key, row, record.Key{Version: version, Sequence: sequence})
		return
	}
	m.insertKey(user, hash, row, chunk, offset)
}

// link puts a row into its place among those of its key: the first, unless versions come out of
// order.
func (m *Memtable) link(key, row uint32, k record.Key) {
	before, word := key, keyNewest
	for {
		next := m.arena.node(before)[word].Load()
		if next == none || record.CompareTime(k, m.time(next)) <= 0 {
			m.arena.node(row)[rowOlder].Store(next)
			m.arena.node(before)[word].Store(row) // T2: linked only now
			return
		}
		before, word = next, rowOlder
	}
}

// insertKey makes the node of a key that has none, with its first row.
func (m *Memtable) insertKey(user []byte, hash, row, chunk uint32, offset int) {
	m.findPath(user)
	height := m.randomHeight()
	ref := m.arena.newNode(keyTower + height)
	n := m.arena.node(ref)
	n[keyChunk].Store(chunk)
	n[keyOffset].Store(uint32(offset))
	n[keyNewest].Store(row)
	for level := range height {
		n[keyTower+level].Store(m.next(m.last[level], level))
	}
	for level := range height { // T2: linked only now, from the bottom up
		m.arena.node(m.last[level])[keyTower+level].Store(ref)
		m.last[level] = ref
	}
	m.keys++
	at := m.index.Load()
	if 2*m.keys > len(at.slots) {
		at = at.grown()
		at.put(hash, ref)
		m.index.Store(at)
		return
	}
	at.put(hash, ref)
}

// findPath leaves in last, for each level, the last node before the key. When it follows the last
// insertion, as in sorted input, the search starts from the path to that: until a level moves
// ahead, the old path is the nearest start; from then on the new place is ahead of all of it.
func (m *Memtable) findPath(user []byte) {
	if m.last[0] != none && m.compare(m.last[0], user) >= 0 {
		m.last = [maxHeight]uint32{}
	}
	at, moved := none, false
	for level := maxHeight - 1; level >= 0; level-- {
		if !moved {
			at = m.last[level]
		}
		for next := m.next(at, level); next != none && m.compare(next, user) < 0; next = m.next(at, level) {
			at, moved = next, true
		}
		m.last[level] = at
	}
}

// randomHeight is 1 with probability 3/4, 2 with 3/16, and so on.
func (m *Memtable) randomHeight() int {
	m.random ^= m.random << 13
	m.random ^= m.random >> 7
	m.random ^= m.random << 17
	height := 1
	for r := m.random >> 20; height < maxHeight && r&3 == 0; r >>= 2 {
		height++
	}
	return height
}

func (m *Memtable) hash(user []byte) uint32 { return uint32(maphash.Bytes(m.seed, user)) }

// find gives the node of a key, or none.
func (m *Memtable) find(user []byte, hash uint32) uint32 {
	x := m.index.Load()
	for at := x.first(hash); ; at = x.after(at) {
		slot := x.slots[at].Load()
		if slot == 0 {
			return none
		}
		if uint32(slot>>32) == hash && bytes.Equal(m.user(uint32(slot)), user) {
			return uint32(slot)
		}
	}
}

// next is the key's node after another one on a level of the skiplist.
func (m *Memtable) next(key uint32, level int) uint32 {
	return m.arena.node(key)[keyTower+level].Load()
}

func (m *Memtable) newest(key uint32) uint32 { return m.arena.node(key)[keyNewest].Load() }

func (m *Memtable) older(row uint32) uint32 { return m.arena.node(row)[rowOlder].Load() }

// user gives the bytes of a node's key.
func (m *Memtable) user(key uint32) []byte {
	n := m.arena.node(key)
	user, _ := rowKey((*m.arena.data.Load())[n[keyChunk].Load()][n[keyOffset].Load():])
	return user
}

// compare orders the key of a node against another.
func (m *Memtable) compare(key uint32, user []byte) int { return bytes.Compare(m.user(key), user) }

// time gives the version and the sequence of a row.
func (m *Memtable) time(row uint32) record.Key {
	n := m.arena.node(row)
	return record.Key{
		Version:  uint64(n[rowVersionHigh].Load())<<32 | uint64(n[rowVersionLow].Load()),
		Sequence: uint64(n[rowSequenceHigh].Load())<<32 | uint64(n[rowSequenceLow].Load()),
	}
}

func (m *Memtable) row(row uint32, r *record.Row) {
	n := m.arena.node(row)
	decodeRow((*m.arena.data.Load())[n[rowChunk].Load()][n[rowOffset].Load():], r)
	t := m.time(row)
	r.Version, r.Sequence = t.Version, t.Sequence
}

// before finds the last key's node before a key; a nil pointer means the end. The head stands for none.
func (m *Memtable) before(user *[]byte) uint32 {
	at := none
	for level := maxHeight - 1; level >= 0; level-- {
		for next := m.next(at, level); next != none && (user == nil || m.compare(next, *user) < 0); next = m.next(at, level) {
			at = next
		}
	}
	return at
}

// Get finds the newest row of a user key with a version and a sequence not above at's.
func (m *Memtable) Get(at record.Key, r *record.Row) bool {
	key := m.find(at.User, m.hash(at.User))
	if key == none {
		return false
	}
	for row := m.newest(key); row != none; row = m.older(row) {
		if t := m.time(row); t.Version <= at.Version && t.Sequence <= at.Sequence {
			m.row(row, r)
			return true
		}
	}
	return false
}
