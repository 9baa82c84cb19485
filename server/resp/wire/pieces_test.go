package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// pieces gives out what it has, then an error.
type pieces struct {
	list [][]byte
	end  error
}

func (p *pieces) Next() ([]byte, error) {
	if len(p.list) == 0 {
		return nil, p.end
	}
	piece := p.list[0]
	p.list = p.list[1:]
	return piece, nil
}

func (*pieces) Close() {}

func TestAValueIsWrittenWhileItComes(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		pieces pieces
		want   string
		failed bool // before anything is written
		broken bool // in the middle
	}{
		"whole":      {pieces{[][]byte{[]byte("abc"), []byte("de")}, io.EOF}, "+before\r\n$5\r\nabcde\r\n+OK\r\n", false, false},
		"never":      {pieces{nil, broken}, "+before\r\n-UNKNOWN broken\r\n", true, false},
		"not at all": {pieces{nil, io.EOF}, "+before\r\n-UNKNOWN EOF\r\n", true, false},
		"cut":        {pieces{[][]byte{[]byte("abc")}, broken}, "+before\r\n$5\r\nabc", false, true},
		"short":      {pieces{[][]byte{[]byte("abc")}, io.EOF}, "+before\r\n$5\r\nabc", false, true},
		"long":       {pieces{[][]byte{[]byte("abc"), []byte("def")}, io.EOF}, "+before\r\n$5\r\nabc", false, true},
	} {
		var out bytes.Buffer
		r := NewReply(&out)
		r.Simple("before")
		err := r.BulkPieces(5, &c.pieces)
		if (err != nil) != c.failed {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			r.Fail(err)
		} else {
			r.OK()
		}
		if (r.Flush() != nil) != c.broken || out.String() != c.want {
			t.Errorf("%s: %q, %v", name, out.String(), r.Err())
		}
	}
}
