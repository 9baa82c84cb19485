package record

import (
	"bytes"
	"cmp"
)

// MaxVersion is above the version of every row.
const MaxVersion = ^uint64(0)

// MaxSequence is above the sequence of every row.
const MaxSequence = ^uint64(0)

// Kind says what a row means. The numbers are part of the formats of tables and the log.
type Kind uint8

// The kinds of rows.
const (
	Delete Kind = 0 // the key is absent from this version on
	Put    Kind = 1
	// DeleteRange makes the keys from the row's own up to its value, that excluded, absent. Batches, memtables and the log have it among
	// their rows; cursors and tables do not (package rangedel).
	DeleteRange Kind = 2
)

// Key is a row's place in the order O1.
type Key struct {
	User     []byte
	Version  uint64
	Sequence uint64
}

// FirstOf is the place before every row of a user key.
func FirstOf(user []byte) Key {
	return Key{User: user, Version: MaxVersion, Sequence: MaxSequence}
}

// Compare orders keys: user key ascending, version descending, sequence descending (O1).
func Compare(a, b Key) int {
	if c := bytes.Compare(a.User, b.User); c != 0 {
		return c
	}
	return CompareTime(a, b)
}

// CompareTime orders two rows of the same user key.
func CompareTime(a, b Key) int {
	if c := cmp.Compare(b.Version, a.Version); c != 0 {
		return c
	}
	return cmp.Compare(b.Sequence, a.Sequence)
}

// Row is one row. Who hands it out owns its bytes.
type Row struct {
	Key
	Kind   Kind
	Expiry uint64 // absolute milliseconds, zero for never
	Value  []byte
	Far    Far // where the value is, if it is not here
}

// Expired reports whether the row had expired at a time.
func (r *Row) Expired(atMillis uint64) bool { return r.Expiry != 0 && r.Expiry <= atMillis }

// Direction is the way a cursor goes.
type Direction bool

// The two directions.
const (
	Forward  Direction = false
	Backward Direction = true
)

// Cursor walks rows in the order O1. It is for one goroutine.
type Cursor interface {
	// Seek goes to the first row at or after k (Forward) or the last row before k (Backward). A
	// nil k stands for the end that the direction starts from. It fixes the direction of Step. It
	// returns what Row does then.
	Seek(k *Key, d Direction) *Row
	// Step goes on in the direction of the last Seek. It must not be called at the end. It returns
	// what Row does then.
	Step() *Row
	// Row is the current row, valid until the next move, or nil at the end and after an error.
	Row() *Row
	// Err is the error that ended the walk, if one did.
	Err() error
}
