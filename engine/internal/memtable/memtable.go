package memtable

import (
	"bytes"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// Words of a node before its tower of links.
const (
	wordChunk = iota // where the row's bytes are
	wordOffset
	wordVersionHigh
	wordVersionLow
	wordSequenceHigh
	wordSequenceLow
	wordTower
)

const (
	// maxHeight levels with one node in four rising suit 4^12 rows, far more than fit.
	maxHeight = 12
	none      = uint32(0) // the head's own reference: nothing links to it
)

// Memtable holds rows in the order O1. Add is for one goroutine at a time; everything else is
// safe for any number, also during Add.
type Memtable struct {
	arena arena
	least atomic.Uint64 // version; MaxVersion while empty

	// Owned by the writer.
	random uint64            // xorshift state for tower heights; the same for every memtable, so runs repeat
	last   [maxHeight]uint32 // the path to the place of the last insertion
}

// New makes an empty memtable.
func New() *Memtable {
	m := &Memtable{random: 0x9E3779B97F4A7C15}
	m.least.Store(record.MaxVersion)
	m.arena.init()
	m.arena.newNode(wordTower + maxHeight) // the head, reference 0
	return m
}

// Bytes is how much memory the rows and their nodes use.
func (m *Memtable) Bytes() int { return int(m.arena.used.Load()) }

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
	m.findPath(record.Key{User: user, Version: version, Sequence: sequence})
	height := m.randomHeight()
	ref := m.arena.newNode(wordTower + height)
	n := m.arena.node(ref)
	n[wordChunk].Store(chunk)
	n[wordOffset].Store(uint32(offset))
	n[wordVersionHigh].Store(uint32(version >> 32))
	n[wordVersionLow].Store(uint32(version))
	n[wordSequenceHigh].Store(uint32(sequence >> 32))
	n[wordSequenceLow].Store(uint32(sequence))
	for level := range height {
		n[wordTower+level].Store(m.next(m.last[level], level))
	}
	for level := range height { // T2: linked only now, from the bottom up
		m.arena.node(m.last[level])[wordTower+level].Store(ref)
		m.last[level] = ref
	}
}

// findPath leaves in last, for each level, the last node before k. When k follows the last
// insertion, as in sorted input, the search starts from the path to that: until a level moves
// ahead, the old path is the nearest start; from then on the new place is ahead of all of it.
func (m *Memtable) findPath(k record.Key) {
	if m.last[0] != none && m.compare(m.last[0], k) >= 0 {
		m.last = [maxHeight]uint32{}
	}
	at, moved := none, false
	for level := maxHeight - 1; level >= 0; level-- {
		if !moved {
			at = m.last[level]
		}
		for next := m.next(at, level); next != none && m.compare(next, k) < 0; next = m.next(at, level) {
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

func (m *Memtable) next(ref uint32, level int) uint32 {
	return m.arena.node(ref)[wordTower+level].Load()
}

// compare orders the row of a node against k.
func (m *Memtable) compare(ref uint32, k record.Key) int {
	n := m.arena.node(ref)
	user, _ := rowKey((*m.arena.data.Load())[n[wordChunk].Load()][n[wordOffset].Load():])
	if c := bytes.Compare(user, k.User); c != 0 {
		return c
	}
	return record.CompareTime(record.Key{
		Version:  uint64(n[wordVersionHigh].Load())<<32 | uint64(n[wordVersionLow].Load()),
		Sequence: uint64(n[wordSequenceHigh].Load())<<32 | uint64(n[wordSequenceLow].Load()),
	}, k)
}

func (m *Memtable) row(ref uint32, r *record.Row) {
	n := m.arena.node(ref)
	decodeRow((*m.arena.data.Load())[n[wordChunk].Load()][n[wordOffset].Load():], r)
	r.Version = uint64(n[wordVersionHigh].Load())<<32 | uint64(n[wordVersionLow].Load())
	r.Sequence = uint64(n[wordSequenceHigh].Load())<<32 | uint64(n[wordSequenceLow].Load())
}

// before finds the last node before k; a nil k means the end. The head stands for none.
func (m *Memtable) before(k *record.Key) uint32 {
	at := none
	for level := maxHeight - 1; level >= 0; level-- {
		for next := m.next(at, level); next != none && (k == nil || m.compare(next, *k) < 0); next = m.next(at, level) {
			at = next
		}
	}
	return at
}

// Get finds the newest row of a user key with a version and a sequence not above at's.
func (m *Memtable) Get(at record.Key, r *record.Row) bool {
	for ref := m.next(m.before(&record.Key{User: at.User, Version: at.Version, Sequence: record.MaxSequence}), 0); ref != none; ref = m.next(ref, 0) {
		m.row(ref, r)
		if !bytes.Equal(r.User, at.User) {
			return false
		}
		if r.Sequence <= at.Sequence {
			return true
		}
	}
	return false
}
