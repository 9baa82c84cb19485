package txn

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// unjoined is how many ranges may wait to be joined, beside as many as are: joining after each would cost the square of their number.
const unjoined = 16

// DeleteRange notes that the keys in [start, end) are deleted, those that were written before among them.
func (b *Buffers) DeleteRange(start, end []byte) {
	for w, ok := b.Writes.After(start); ok && bytes.Compare(w.Key, end) < 0; {
		b.Writes.Set(record.Delete, w.Key, nil, 0)
		w, ok = b.Writes.After(append(bytes.Clone(w.Key), 0))
	}
	b.Deleted.Add(start, end)
	if d := &b.Deleted; len(d.list) > 2*d.joined+unjoined {
		d.Join()
	}
}
