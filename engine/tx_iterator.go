package engine

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/txn"
)

// TxIterator walks over what a transaction sees, both ways: the store as it was when the transaction began, and the
// transaction's own writes as they are at each move. It is for the goroutine of the transaction and must be closed. When the
// transaction ends, its moves find nothing, and Err is ErrTxDone.
type TxIterator struct {
	tx         *Tx
	base       *Iterator
	start, end []byte
	seen       int // number of the range that this walk has seen, or -1
	keysOnly   bool

	valid    bool
	backward bool // the base stands at or before the current key, not at or after it
	row      Row
	key      []byte // the current one
	from     []byte // where the move begins
	err      error
}

// NewIterator makes an iterator, which stands nowhere. IteratorOptions.At must be zero or MaxVersion. In a serializable
// transaction what the iterator has passed, and that nothing else was there, is checked at the commit.
func (t *Tx) NewIterator(o IteratorOptions) *TxIterator {
	it := &TxIterator{tx: t, start: bytes.Clone(o.Start), end: bytes.Clone(o.End), seen: -1, keysOnly: o.KeysOnly}
	switch {
	case t.done:
		it.err = ErrTxDone
	case o.At != 0 && o.At != MaxVersion:
		it.err = ErrSnapshotTooOld
	default:
		it.base = t.snapshot.NewIterator(o)
		it.err = it.base.Err()
	}
	return it
}

// First goes to the first key.
func (it *TxIterator) First() bool { return it.SeekGE(it.start) }

// Last goes to the last key.
func (it *TxIterator) Last() bool { return it.seekBefore(it.end) }

// SeekGE goes to the first key at or after a key.
func (it *TxIterator) SeekGE(key []byte) bool {
	if !it.ready() {
		return false
	}
	if bytes.Compare(key, it.start) < 0 {
		key = it.start
	}
	it.from = append(it.from[:0], key...) // the caller's key may be that of the current row
	key = it.from
	it.backward, it.seen = false, -1
	it.base.SeekGE(key)
	it.forward(key)
	if it.tracks() {
		end := it.end
		if it.valid {
			end = after(it.key)
		}
		if end == nil || bytes.Compare(key, end) < 0 {
			it.seen = it.tx.remember().Ranges.Add(key, end)
		}
	}
	return it.settle()
}

// SeekLT goes to the last key before a key.
func (it *TxIterator) SeekLT(key []byte) bool {
	if it.end != nil && bytes.Compare(key, it.end) > 0 {
		key = it.end
	}
	if key == nil {
		key = []byte{} // nothing is before it; nil would be the end
	}
	return it.seekBefore(key)
}

// seekBefore takes nil for the end of everything.
func (it *TxIterator) seekBefore(key []byte) bool {
	if !it.ready() {
		return false
	}
	it.backward, it.seen = true, -1
	if key == nil {
		it.base.Last()
	} else {
		it.from = append(it.from[:0], key...)
		key = it.from
		it.base.SeekLT(key)
	}
	it.back(key)
	if it.tracks() {
		start := it.start
		if it.valid {
			start = it.key
		}
		if key == nil || bytes.Compare(start, key) < 0 {
			it.seen = it.tx.remember().Ranges.Add(start, key)
		}
	}
	return it.settle()
}

// Next goes to the next key.
func (it *TxIterator) Next() bool {
	if !it.valid || !it.ready() {
		return false
	}
	it.from = append(append(it.from[:0], it.key...), 0)
	if it.backward {
		it.backward = false
		it.base.SeekGE(it.from)
	} else if it.base.Valid() && bytes.Equal(it.base.Row().Key, it.key) {
		it.base.Next()
	}
	it.forward(it.from)
	if it.tracks() && it.seen >= 0 {
		if it.valid {
			it.tx.buffers.Ranges.Up(it.seen, it.key)
		} else {
			it.tx.buffers.Ranges.UpTo(it.seen, it.end)
		}
	}
	return it.settle()
}

// Prev goes to the previous key.
func (it *TxIterator) Prev() bool {
	if !it.valid || !it.ready() {
		return false
	}
	it.from = append(it.from[:0], it.key...)
	if !it.backward {
		it.backward = true
		it.base.SeekLT(it.from)
	} else if it.base.Valid() && bytes.Equal(it.base.Row().Key, it.key) {
		it.base.Prev()
	}
	it.back(it.from)
	if it.tracks() && it.seen >= 0 {
		start := it.start
		if it.valid {
			start = it.key
		}
		it.tx.buffers.Ranges.DownTo(it.seen, start)
	}
	return it.settle()
}

// forward finds the first row to show at or after a key. The base stands at its first row there.
func (it *TxIterator) forward(from []byte) {
	for it.valid = false; ; {
		it.skipDeleted()
		w, own := it.ownAfter(from)
		if !own || it.base.Valid() && bytes.Compare(it.base.Row().Key, w.Key) < 0 {
			it.showBase()
			return
		}
		if it.showOwn(w) {
			return
		}
		from = after(w.Key)
		if it.base.Valid() && bytes.Equal(it.base.Row().Key, w.Key) {
			it.base.Next()
		}
	}
}

// back finds the last row to show before a key, or before the end for nil. The base stands at its last row there.
func (it *TxIterator) back(before []byte) {
	for it.valid = false; ; {
		it.skipDeleted()
		w, own := it.ownBefore(before)
		if !own || it.base.Valid() && bytes.Compare(it.base.Row().Key, w.Key) > 0 {
			it.showBase()
			return
		}
		if it.showOwn(w) {
			return
		}
		before = w.Key
		if it.base.Valid() && bytes.Equal(it.base.Row().Key, w.Key) {
			it.base.Prev()
		}
	}
}

// skipDeleted moves the base out of ranges that the transaction has deleted.
func (it *TxIterator) skipDeleted() {
	if it.tx.buffers == nil || it.tx.buffers.Deleted.Len() == 0 {
		return
	}
	for it.base.Valid() {
		g := it.tx.buffers.Deleted.Covering(it.base.Row().Key)
		switch {
		case g == nil:
			return
		case it.backward:
			it.base.SeekLT(g.Start)
		default:
			it.base.SeekGE(g.End)
		}
	}
}

func (it *TxIterator) ownAfter(key []byte) (w txn.Write, ok bool) {
	if it.tx.buffers == nil {
		return w, false
	}
	w, ok = it.tx.buffers.Writes.After(key)
	return w, ok && (it.end == nil || bytes.Compare(w.Key, it.end) < 0)
}

func (it *TxIterator) ownBefore(key []byte) (w txn.Write, ok bool) {
	if it.tx.buffers == nil {
		return w, false
	}
	w, ok = it.tx.buffers.Writes.Before(key)
	return w, ok && bytes.Compare(w.Key, it.start) >= 0
}

func (it *TxIterator) showBase() {
	if it.valid = it.base.Valid(); it.valid {
		it.show(it.base.Row())
	}
}

// showOwn reports whether the write is a row to show.
func (it *TxIterator) showOwn(w txn.Write) bool {
	row, ok := it.tx.ownRow(w)
	if it.keysOnly {
		row.Value = nil
	}
	if it.valid = ok; ok {
		it.show(row)
	}
	return ok
}

func (it *TxIterator) show(row Row) {
	it.key = append(it.key[:0], row.Key...)
	it.row = row
	it.row.Key = it.key
}

// after is the key behind a key.
func after(key []byte) []byte { return append(append(make([]byte, 0, len(key)+1), key...), 0) }

// ready reports whether the iterator may move.
func (it *TxIterator) ready() bool {
	if it.err == nil && it.tx.done {
		it.err = ErrTxDone
	}
	if it.err != nil {
		it.valid = false
	}
	return it.err == nil
}

// tracks reports whether what the walk sees is checked at the commit.
func (it *TxIterator) tracks() bool { return it.tx.options.Isolation == Serializable }

// settle turns what went wrong with a move into the end of the walk.
func (it *TxIterator) settle() bool {
	if it.err = it.base.Err(); it.err == nil && it.tracks() {
		it.err = it.tx.checkSize(0)
	}
	it.valid = it.valid && it.err == nil
	return it.valid
}

// Valid reports whether there is a current row.
func (it *TxIterator) Valid() bool { return it.valid && !it.tx.done }

// Row is the current row. Its bytes are read-only and good until the next move or Close, and until the transaction
// ends. A row that the transaction has written itself has Version 0.
func (it *TxIterator) Row() Row { return it.row }

// Err is the error that ended the walk, or nil.
func (it *TxIterator) Err() error { return it.err }

// Close gives back what the iterator holds. It returns Err.
func (it *TxIterator) Close() error {
	err := it.err
	if it.base != nil {
		if baseErr := it.base.Close(); err == nil {
			err = baseErr
		}
		it.base = nil
	}
	it.valid, it.err = false, ErrClosed
	return err
}
