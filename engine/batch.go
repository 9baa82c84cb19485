package engine

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/wal"
)

// Batch is a set of rows that Apply makes visible, and later durable, all or none. It is for one
// goroutine and may be used again after Apply or Reset.
type Batch struct {
	buf         []byte // rows as memtables keep them
	rows        []memtable.Ref
	position    Position
	hasPosition bool
	horizon     Horizon
	err         error // the first row outside its limits
	room        int   // of the buffer that the store kept
	puts        int   // rows that are no tombstones
	ranges      int   // rows that are range tombstones
	waiter      wal.Waiter
	raw         bool      // some key has no family
	families    []*Family // of the other ones
	drops       *Family   // that the batch removes
	guard       *Tx       // decides whether the batch may be applied; nil for any
}

// NewBatch makes an empty batch.
func (db *DB) NewBatch() *Batch { return &Batch{} }

// Put sets a key from version v on. Key and value are copied. An expiry of zero means never; the
// engine stores it and drops the row some time after the horizon has passed it, but has no clock
// of its own: who reads judges. Version 0 stands for the last version of the store plus one, the
// same for all such rows of the batch. Of rows with the same key and version the later one counts.
func (b *Batch) Put(key, value []byte, v Version, expiryMillis uint64) {
	b.raw = true
	b.add(record.Put, key, value, v, expiryMillis)
}

// Delete makes a key absent from version v on. Version 0 is as in Put.
func (b *Batch) Delete(key []byte, v Version) {
	b.raw = true
	b.add(record.Delete, key, nil, v, 0)
}

// DeleteRange makes every key from start up to end, which is excluded, absent from version v on, whether it is there or not: as
// a Delete of each of them would, at the cost of one row. Rows that the batch puts later, and those with a higher version, are
// not affected. Version 0 is as in Put. An empty start is before all keys; a range without a key is refused with ErrRange.
func (b *Batch) DeleteRange(start, end []byte, v Version) {
	b.raw = true
	b.addRange(start, end, v)
}

func (b *Batch) addRange(start, end []byte, v Version) {
	if b.err != nil {
		return
	}
	if b.err = checkRange(start, end); b.err == nil {
		b.append(record.DeleteRange, start, end, v, 0)
	}
}

// checkRange refuses a range outside its limits.
func checkRange(start, end []byte) error {
	switch {
	case len(start) > MaxKeyBytes || len(end) > MaxKeyBytes:
		return fmt.Errorf("range of keys of %d and %d bytes, limit %d: %w", len(start), len(end), MaxKeyBytes, ErrTooLarge)
	case bytes.Compare(start, end) >= 0:
		return ErrRange
	}
	return nil
}

func (b *Batch) add(kind record.Kind, key, value []byte, v Version, expiryMillis uint64) {
	if b.err != nil {
		return
	}
	if b.err = checkRow(key, value); b.err == nil {
		b.append(kind, key, value, v, expiryMillis)
	}
}

// append adds a row that is within its limits.
func (b *Batch) append(kind record.Kind, key, value []byte, v Version, expiryMillis uint64) {
	if len(b.buf)+len(key)+len(value) > MaxBatchBytes {
		b.err = fmt.Errorf("batch of more than %d bytes: %w", MaxBatchBytes, ErrTooLarge)
		return
	}
	switch kind {
	case record.Put:
		b.puts++
	case record.DeleteRange:
		b.ranges++
	}
	if b.buf == nil && b.room > 0 {
		b.buf = make([]byte, 0, b.room)
	}
	b.rows = append(b.rows, memtable.Ref{Offset: len(b.buf), Version: uint64(v)})
	b.buf = memtable.AppendRow(b.buf, kind, key, value, expiryMillis)
}

// checkRow refuses a row outside its limits.
func checkRow(key, value []byte) error {
	switch {
	case len(key) == 0 || len(key) > MaxKeyBytes:
		return fmt.Errorf("key of %d bytes, must be 1 to %d: %w", len(key), MaxKeyBytes, ErrTooLarge)
	case len(value) > MaxValueBytes:
		return fmt.Errorf("value of %d bytes, limit %d: %w", len(value), MaxValueBytes, ErrTooLarge)
	}
	return nil
}

// Grow makes room for so many more rows with so many bytes of keys and values, and what goes with
// them, so that adding them need not.
func (b *Batch) Grow(rows, bytes int) {
	const perRow = 16
	b.rows = slices.Grow(b.rows, rows)
	b.buf = slices.Grow(b.buf, bytes+perRow*rows)
}

// SetPosition says which entry of the caller's log the batch is. A batch without a position
// leaves it as it was.
func (b *Batch) SetPosition(p Position) { b.position, b.hasPosition = p, true }

// SetHorizon moves the horizon up; a lower part than the store's leaves that as it was.
func (b *Batch) SetHorizon(h Horizon) { b.horizon = h }

// Len is the number of rows.
func (b *Batch) Len() int { return len(b.rows) }

// Bytes is about how much memory the batch takes in the store.
func (b *Batch) Bytes() int { return len(b.buf) + rowOverheadBytes*len(b.rows) }

// rowOverheadBytes is what a row of a new key takes in a memtable beside its bytes, on average.
const rowOverheadBytes = 48

// Reset empties the batch.
func (b *Batch) Reset() {
	*b = Batch{buf: b.buf[:0], rows: b.rows[:0], families: b.families[:0], waiter: b.waiter, room: b.room}
}

// maxRoomBytes bounds what a batch takes before it has rows.
const maxRoomBytes = 1 << 20

// consumed empties the batch. If the store kept its buffer, it gets another one, of about the size that the last one needed:
// who fills one batch after the other fills similar ones.
func (b *Batch) consumed(adopted bool) {
	if adopted {
		b.room = 0
		if needed := len(b.buf); needed <= maxRoomBytes {
			b.room = needed + needed/16
		}
		b.buf = nil
	}
	b.Reset()
}
