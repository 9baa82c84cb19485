package record

// Far is where a value lies that stands apart from its key, in a table. The zero Far is that of a value which is in its row.
type Far struct {
	From   Source
	Offset uint64 // of its frame in the file
	Stored uint32 // length of the frame's payload
	Raw    uint32 // length of the value; never zero
}

// Source reads values that stand apart.
type Source interface {
	// Value reads a value. It is in dst, which is empty, if that has room, or in other memory; if it is shared, nobody may change it.
	Value(f Far, dst []byte) (value []byte, shared bool, err error)
}

// Load makes the value of a row that a cursor gave be there, in buf or in memory of others. Until then Value is empty where
// the value stands apart: who needs no values, or not those of all rows, does not read them.
func (r *Row) Load(buf *[]byte) error {
	if r.Far.Raw == 0 {
		return nil
	}
	value, shared, err := r.Far.From.Value(r.Far, (*buf)[:0])
	if err != nil {
		return err
	}
	if !shared {
		*buf = value
	}
	r.Value, r.Far = value, Far{}
	return nil
}

// ValueBytes is the length of the value, wherever it is.
func (r *Row) ValueBytes() int { return len(r.Value) + int(r.Far.Raw) }
