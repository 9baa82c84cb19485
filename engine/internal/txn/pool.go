package txn

import (
	"sync"

	"github.com/lightning-db/lightning/engine/internal/memtable"
)

// Buffers are all that a transaction fills. BenchmarkTransaction in package engine has what the pool saves: the
// allocations of the six slices of every transaction that writes.
type Buffers struct {
	Writes Writes
	Reads  Keys
	Ranges Ranges

	Rows []memtable.Ref // of the batch
	Row  []byte
}

// Bytes is about how much memory is in use.
func (b *Buffers) Bytes() int { return b.Writes.Bytes() + b.Reads.Bytes() + b.Ranges.Bytes() }

// maxKeptBytes is how much memory buffers may have to be kept for the next transaction.
const maxKeptBytes = 64 << 10

var pool = sync.Pool{New: func() any { return new(Buffers) }}

// Get gives empty buffers.
func Get() *Buffers { return pool.Get().(*Buffers) }

// Put takes buffers back, of which nobody may use anything any more.
func Put(b *Buffers) {
	kept := cap(b.Row) + cap(b.Writes.data) + cap(b.Writes.keys.bytes) + cap(b.Reads.bytes) + b.Ranges.bytes +
		16*(cap(b.Rows)+cap(b.Writes.keys.ends)+cap(b.Reads.ends)+cap(b.Ranges.list)) + 36*cap(b.Writes.values)
	if kept > maxKeptBytes {
		return
	}
	b.Writes.Reset()
	b.Reads.Reset()
	b.Ranges.Reset()
	b.Rows, b.Row = b.Rows[:0], b.Row[:0]
	pool.Put(b)
}

// Used is a copy of everything that a transaction touched.
type Used struct {
	keys   Keys
	ranges Ranges
}

// Used copies what was touched. The ranges must be joined.
func (b *Buffers) Used() *Used {
	u := &Used{}
	for i := range b.Writes.Len() {
		u.keys.Add(b.Writes.keys.At(i))
	}
	for i := range b.Reads.Len() {
		u.keys.Add(b.Reads.At(i))
	}
	for i := range b.Ranges.Len() {
		u.ranges.Add(b.Ranges.At(i).Start, b.Ranges.At(i).End)
	}
	return u
}

// Has tells whether a key was touched.
func (u *Used) Has(key []byte) bool { return u.keys.Find(key) >= 0 || u.ranges.Covering(key) != nil }
