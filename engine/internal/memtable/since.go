package memtable

import "github.com/lightning-db/lightning/engine/internal/record"

// Since calls visit with the key of every row with a sequence above one, the oldest row first, until it returns false.
// It sees every row added before the call, and none that is added meanwhile. Range tombstones are left to Ranges.
func (m *Memtable) Since(sequence uint64, visit func(user []byte) bool) {
	rows := m.rows.Load()
	if rows == 0 {
		return
	}
	ranged := m.ranges.Load() != nil
	row := uint32(1)
	if sequence >= m.first { // T4
		row = uint32(min(sequence-m.first, uint64(rows))) + 2
	}
	for ; row <= rows; row++ {
		if ranged && kindOf(m.arena.row(m.arena.node(row))) == record.DeleteRange {
			continue
		}
		if !visit(m.user(row)) {
			return
		}
	}
}
