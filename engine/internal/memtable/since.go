package memtable

// Since calls visit with the key of every row with a sequence above one, the oldest row first, until it returns false.
// It sees every row added before the call, and none that is added meanwhile.
func (m *Memtable) Since(sequence uint64, visit func(user []byte) bool) {
	rows := m.rows.Load()
	if rows == 0 {
		return
	}
	row := uint32(1)
	if sequence >= m.first { // T4
		row = uint32(min(sequence-m.first, uint64(rows))) + 2
	}
	for ; row <= rows; row++ {
		if !visit(m.user(row)) {
			return
		}
	}
}
