package levels

import (
	"bytes"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/table"
)

// Table is one open table with its place in a store.
type Table struct {
	// Set by the maker, never written again.
	Number     uint64
	Size       uint64
	Properties *table.Properties
	Reader     *table.Reader // nil only in tests of pure functions
	Released   func(*Table)  // called once, when no set holds the table any more
	Ranges     *rangedel.Set // range tombstones

	references atomic.Int32
	// Obsolete says that no manifest names the table: its file can go when it is released.
	Obsolete atomic.Bool
}

// Covers reports whether a user key lies within the table's range.
func (t *Table) Covers(user []byte) bool {
	return bytes.Compare(t.Properties.Smallest, user) <= 0 && bytes.Compare(user, t.Properties.Largest) <= 0
}

// Meets reports whether the table's range meets [start, end), where nil is no end.
func (t *Table) Meets(start, end []byte) bool {
	return (end == nil || bytes.Compare(t.Properties.Smallest, end) < 0) && bytes.Compare(t.Properties.Largest, start) >= 0
}

// overlaps reports whether the table's range meets [smallest, largest].
func (t *Table) overlaps(smallest, largest []byte) bool {
	return bytes.Compare(t.Properties.Smallest, largest) <= 0 && bytes.Compare(smallest, t.Properties.Largest) <= 0
}

func (t *Table) unref() {
	if t.references.Add(-1) == 0 && t.Released != nil {
		t.Released(t) // L2
	}
}
