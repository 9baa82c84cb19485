package txn

import (
	"bytes"
	"slices"
	"sort"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// Write is the last write of a key. Its bytes are read-only.
type Write struct {
	Key, Value []byte
	Kind       record.Kind
	Expiry     uint64
}

// Writes are what a transaction wrote: for each key the last write.
type Writes struct {
	keys   Keys
	values []value // by number of key
	data   []byte
	order  []uint32 // numbers of keys, sorted by key; the last ones may be missing
}

type value struct {
	kind       record.Kind
	expiry     uint64
	start, end int
}

// Set notes a write. Key and value are copied.
func (w *Writes) Set(kind record.Kind, key, val []byte, expiry uint64) {
	start := len(w.data)
	w.data = append(w.data, val...) // never over an older value: somebody may read that (TX2)
	v := value{kind: kind, expiry: expiry, start: start, end: len(w.data)}
	if i := w.keys.Add(key); i < len(w.values) {
		w.values[i] = v
		return
	}
	w.values = append(w.values, v)
}

// Len is how many keys were written.
func (w *Writes) Len() int { return w.keys.Len() }

// Bytes is about how much memory the writes take.
func (w *Writes) Bytes() int { return w.keys.Bytes() + len(w.data) + 36*len(w.values) }

// At gives a write by the number of its key.
func (w *Writes) At(i int) Write {
	v := w.values[i]
	return Write{Key: w.keys.At(i), Value: w.data[v.start:v.end:v.end], Kind: v.kind, Expiry: v.expiry}
}

// Get gives the write of a key.
func (w *Writes) Get(key []byte) (Write, bool) {
	if i := w.keys.Find(key); i >= 0 {
		return w.At(i), true
	}
	return Write{}, false
}

// After gives the first write in the order of keys at or after a key.
func (w *Writes) After(key []byte) (Write, bool) {
	i := w.search(key)
	if i == len(w.order) {
		return Write{}, false
	}
	return w.At(int(w.order[i])), true
}

// Before gives the last write in the order of keys before a key; nil stands for the end of all keys.
func (w *Writes) Before(key []byte) (Write, bool) {
	w.sort()
	i := len(w.order)
	if key != nil {
		i = w.search(key)
	}
	if i == 0 {
		return Write{}, false
	}
	return w.At(int(w.order[i-1])), true
}

// search gives the place in the order of the first key that is not before a key.
func (w *Writes) search(key []byte) int {
	w.sort()
	return sort.Search(len(w.order), func(i int) bool { return bytes.Compare(w.keys.At(int(w.order[i])), key) >= 0 })
}

// inserted is up to how many new keys are put in their places one by one: who writes while he walks
// adds one at a time, and sorting all of them each time would cost the square of their number.
const inserted = 4

// sort brings the order up to date.
func (w *Writes) sort() {
	missing := w.keys.Len() - len(w.order)
	switch {
	case missing == 0:
	case missing <= inserted:
		for range missing {
			n := uint32(len(w.order))
			at := sort.Search(len(w.order), func(i int) bool { return w.compare(w.order[i], n) > 0 })
			w.order = slices.Insert(w.order, at, n)
		}
	default:
		for n := len(w.order); n < w.keys.Len(); n++ {
			w.order = append(w.order, uint32(n))
		}
		slices.SortFunc(w.order, w.compare)
	}
}

func (w *Writes) compare(a, b uint32) int { return bytes.Compare(w.keys.At(int(a)), w.keys.At(int(b))) }

// Reset forgets all writes.
func (w *Writes) Reset() {
	w.keys.Reset()
	w.values, w.data, w.order = w.values[:0], w.data[:0], w.order[:0]
}
