package txn

import (
	"bytes"
	"slices"
	"sync"

	"github.com/lightning-db/lightning/engine/internal/memtable"
)

// Buffers are all that a transaction fills. BenchmarkTransaction in package engine has what the pool saves: the
// allocations of the six slices of every transaction that writes.
type Buffers struct {
	Writes  Writes
	Deleted Ranges // before all Writes
	Reads   Keys
	Ranges  Ranges // walked over

	Rows []memtable.Ref // of the batch
	Row  []byte
}

// Bytes is about how much memory is in use.
func (b *Buffers) Bytes() int {
	return b.Writes.Bytes() + b.Deleted.Bytes() + b.Reads.Bytes() + b.Ranges.Bytes()
}

// maxKeptBytes is how much memory buffers may have to be kept for the next transaction.
const maxKeptBytes = 64 << 10

var pool = sync.Pool{New: func() any { return new(Buffers) }}

// Get gives empty buffers.
func Get() *Buffers { return pool.Get().(*Buffers) }

// Put takes buffers back, of which nobody may use anything any more.
func Put(b *Buffers) {
	kept := cap(b.Row) + cap(b.Writes.data) + cap(b.Writes.keys.bytes) + cap(b.Reads.bytes) + b.Ranges.bytes + b.Deleted.bytes +
		16*(cap(b.Deleted.list)+cap(b.Rows)+cap(b.Writes.keys.ends)+cap(b.Reads.ends)+cap(b.Ranges.list)) + 36*cap(b.Writes.values)
	if kept > maxKeptBytes {
		return
	}
	b.Writes.Reset()
	b.Reads.Reset()
	b.Ranges.Reset()
	b.Deleted.Reset()
	b.Rows, b.Row = b.Rows[:0], b.Row[:0]
	pool.Put(b)
}

// Used is a copy of everything that a transaction touched.
type Used struct {
	keys   Keys
	ranges Ranges
}

// Used copies what was touched.
func (b *Buffers) Used() *Used {
	u := &Used{}
	for i := range b.Writes.Len() {
		u.keys.Add(b.Writes.keys.At(i))
	}
	for i := range b.Reads.Len() {
		u.keys.Add(b.Reads.At(i))
	}
	for _, ranges := range []*Ranges{&b.Ranges, &b.Deleted} {
		for i := range ranges.Len() {
			u.ranges.Add(ranges.At(i).Start, ranges.At(i).End)
		}
	}
	u.ranges.Join()
	return u
}

// HasIn tells whether anything in a range was touched.
func (u *Used) HasIn(g *Range) bool {
	for i := range u.keys.Len() {
		if g.Covers(u.keys.At(i)) {
			return true
		}
	}
	return slices.ContainsFunc(u.ranges.list, func(r Range) bool {
		return (g.End == nil || bytes.Compare(r.Start, g.End) < 0) && (r.End == nil || bytes.Compare(g.Start, r.End) < 0)
	})
}

// Has tells whether a key was touched.
func (u *Used) Has(key []byte) bool { return u.keys.Find(key) >= 0 || u.ranges.Covering(key) != nil }
