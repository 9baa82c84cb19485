package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

func TestRecordsHaveTheirBytes(t *testing.T) {
	for _, c := range []struct {
		r    Record
		want string
	}{
		{Record{Kind: Row, Key: []byte("k"), Value: []byte("vw"), ValueBytes: 2}, "010000016b027677"},
		{Record{Kind: Row, Namespace: 3, ExpiryMillis: 300, Key: []byte("k")}, "0103ac02016b00"},
		{Record{Kind: Long, Key: []byte("k"), ValueBytes: 5}, "020000016b05"},
		{Record{Kind: Piece, Value: []byte("hello"), ValueBytes: 5}, "030568656c6c6f"},
	} {
		b := c.r.Append(nil)
		if hex.EncodeToString(b) != c.want {
			t.Errorf("got %x, want %s", b, c.want)
		}
		r, rest, err := Decode(append(b, 9))
		if err != nil || !bytes.Equal(rest, []byte{9}) || !bytes.Equal(r.Append(nil), b) || r.ValueBytes != c.r.ValueBytes {
			t.Errorf("%x came back as %+v, %x, %v", b, r, rest, err)
		}
		for n := range b {
			if _, _, err := Decode(b[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d bytes of %x: %v", n, b, err)
			}
		}
	}
}

func TestPiecesOutOfPlaceAreRefused(t *testing.T) {
	row, long := Record{Kind: Row, Key: []byte("k")}, Record{Kind: Long, Key: []byte("k"), ValueBytes: 3}
	piece := func(n int) Record { return Record{Kind: Piece, Value: make([]byte, n)} }
	for name, records := range map[string][]Record{
		"without a key": {piece(1)}, "too long": {long, piece(4)}, "interrupted": {long, piece(1), row},
		"more": {long, piece(3), piece(1)},
	} {
		var c Counter
		var err error
		for i := range records {
			if err = c.Take(&records[i]); err != nil && i != len(records)-1 {
				t.Fatalf("%s: record %d: %v", name, i, err)
			}
		}
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var c Counter
	if err := errors.Join(c.Take(&row), c.Take(&long)); err != nil || !errors.Is(c.Whole(), ErrMalformed) || c.Rows != 2 || c.Bytes != 2 {
		t.Errorf("%v, %+v", err, c)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x01k\x02vw"))
	f.Add([]byte("\x03\x05hello"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest, err := Decode(b)
		if err == nil && !bytes.Equal(append(r.Append(nil), rest...), b) {
			t.Fatalf("%x is another encoding of %+v", b, r)
		}
	})
}
