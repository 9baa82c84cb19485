package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
)

func TestRepliesInBothVersions(t *testing.T) {
	for name, c := range map[string]struct {
		write      func(r *Reply)
		two, three string
	}{
		"simple":     {func(r *Reply) { r.Simple("PONG") }, "+PONG\r\n", "+PONG\r\n"},
		"integer":    {func(r *Reply) { r.Integer(-7) }, ":-7\r\n", ":-7\r\n"},
		"boolean":    {func(r *Reply) { r.Boolean(true) }, ":1\r\n", ":1\r\n"},
		"bulk":       {func(r *Reply) { r.Bulk([]byte("a\r\n")) }, "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"},
		"text":       {func(r *Reply) { r.Text("ab") }, "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n"},
		"null":       {(*Reply).Null, "$-1\r\n", "_\r\n"},
		"null array": {(*Reply).NullArray, "*-1\r\n", "_\r\n"},
		"array":      {func(r *Reply) { r.Array(2) }, "*2\r\n", "*2\r\n"},
		"set":        {func(r *Reply) { r.Set(2) }, "*2\r\n", "~2\r\n"},
		"push":       {func(r *Reply) { r.Push(3) }, "*3\r\n", ">3\r\n"},
		"dict":       {func(r *Reply) { r.Dict(2) }, "*4\r\n", "%2\r\n"},
		"error":      {func(r *Reply) { r.Fail(Error("ERR a\r\nb")) }, "-ERR a  b\r\n", "-ERR a  b\r\n"},
		"coded":      {func(r *Reply) { r.Fail(Coded("NOAUTH x", api.CodeUnauthorized)) }, "-NOAUTH x\r\n", "-NOAUTH x\r\n"},
		"by table":   {func(r *Reply) { r.Fail(api.Errorf(api.CodeUnknownOutcome, "x")) }, "-UNKNOWN x\r\n", "-UNKNOWN x\r\n"},
	} {
		for version, want := range map[int]string{2: c.two, 3: c.three} {
			var out bytes.Buffer
			r := NewReply(&out)
			r.Version = version
			c.write(&r)
			if r.Pending() != len(want) || r.Flush() != nil || out.String() != want {
				t.Errorf("%s in RESP%d: %q, want %q", name, version, out.String(), want)
			}
		}
	}
}

// broken takes some bytes and then fails.
type broken struct{ left, calls int }

func (b *broken) Write(p []byte) (int, error) {
	b.calls++
	if len(p) > b.left {
		return 0, errors.New("gone")
	}
	b.left -= len(p)
	return len(p), nil
}

// UW2
func TestNothingIsWrittenAfterAnError(t *testing.T) {
	out := &broken{left: 100}
	r := NewReply(out)
	r.Simple("fits")
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	r.Bulk(make([]byte, 1<<20))
	calls := out.calls
	for range 1000 {
		r.BulkString(strings.Repeat("x", 1000))
		_ = r.Flush()
	}
	if out.calls != calls || r.Err() == nil || r.Pending() != 0 {
		t.Errorf("%d calls after the error %v, %d bytes pending", out.calls-calls, r.Err(), r.Pending())
	}
}

func TestWhatIsPendingStaysWithItsWriter(t *testing.T) {
	var first, second bytes.Buffer
	r := NewReply(&first)
	r.Simple("1")
	if before := r.Redirect(&second); before != &first {
		t.Error("another writer came back")
	}
	r.Simple("2")
	if err := r.Flush(); err != nil || first.String() != "+1\r\n" || second.String() != "+2\r\n" {
		t.Errorf("%q, %q, %v", first.String(), second.String(), err)
	}
}
