package memtable

import (
	"bytes"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// FuzzRow reads arbitrary bytes as rows, as the log does: what is taken for one is read without a panic, has a key and a kind that a row may have,
// and survives being written again. In a memtable it is found.
func FuzzRow(f *testing.F) {
	f.Add(AppendRow(nil, record.Put, []byte("key"), []byte("value"), 1000))
	f.Add(AppendRow(nil, record.Delete, bytes.Repeat([]byte("k"), 200), nil, 0))
	f.Add(AppendRow(AppendRow(nil, record.DeleteRange, nil, []byte("end"), 0), record.Put, []byte("a"), nil, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		var refs []Ref
		var rows []record.Row
		for at := 0; ; {
			n, ok := RowBytes(b[at:])
			if !ok {
				b = b[:at]
				break
			}
			var r, again record.Row
			decodeRow(b[at:], &r)
			decodeRow(AppendRow(nil, r.Kind, r.User, r.Value, r.Expiry), &again)
			if r.Kind > record.DeleteRange || r.Kind != again.Kind || r.Expiry != again.Expiry || !bytes.Equal(r.User, again.User) || !bytes.Equal(r.Value, again.Value) {
				t.Fatalf("%+v becomes %+v", r, again)
			}
			refs, rows = append(refs, Ref{Offset: at, Version: uint64(len(refs) + 1)}), append(rows, r)
			at += n
		}
		m := New(0)
		m.Add(bytes.Clone(b), refs, 1)
		newest := map[string]int{}
		for i, r := range rows {
			if r.Kind != record.DeleteRange {
				newest[string(r.User)] = i
			}
		}
		for user, i := range newest {
			var r record.Row
			ok := m.Get(record.Key{User: []byte(user), Version: record.MaxVersion, Sequence: record.MaxSequence}, &r)
			if !ok || r.Sequence != uint64(i+1) || r.Kind != rows[i].Kind || !bytes.Equal(r.Value, rows[i].Value) {
				t.Fatalf("%q: %v %+v, want row %d", user, ok, r, i)
			}
		}
		n := 0
		for c, r := m.NewCursor(), (*record.Row)(nil); ; n++ {
			if n == 0 {
				r = c.Seek(nil, record.Forward)
			} else {
				r = c.Step()
			}
			if r == nil {
				break
			}
		}
		if want := len(rows) - len(m.Ranges().All()); n != want {
			t.Fatalf("%d rows, want %d", n, want)
		}
	})
}
