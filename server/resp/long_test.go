package resp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server"
)

// A long argument waits until there is room for all of it; a command that needs more than there is at all is refused
// instead, and the connection goes on.
func TestLongArgumentsWaitInLineAndNotForEachOther(t *testing.T) {
	const long = 2 << 20
	s, _, address := startServer(t, func(o *Options) { o.MaxLargeBytes = 3 << 20 })
	value := strings.Repeat("v", long)
	first, second := dial(t, address), dial(t, address)
	in, secondIn := bufio.NewReader(first), bufio.NewReader(second)
	fmt.Fprintf(first, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\nbegun", long)
	eventually(t, func() bool { return s.large.left() == 3<<20-long })
	ended := make(chan string, 1)
	go func() {
		io.WriteString(second, encode("SET", "j", value))
		ended <- readReply(t, secondIn)
	}()
	small := dial(t, address)
	if got := do(t, small, bufio.NewReader(small), "GET", "none"); got != "$-1\r\n" {
		t.Error(got)
	}
	io.WriteString(first, value[len("begun"):]+"\r\n")
	if got := readReply(t, in); got != "+OK\r\n" {
		t.Fatalf("%.100q", got)
	}
	if got := <-ended; got != "+OK\r\n" {
		t.Fatalf("%.100q", got)
	}
	if got := do(t, first, in, "MSET", "a", value, "b", value); !strings.HasPrefix(got, "-ERR ") || !strings.Contains(got, "--memory-limit") {
		t.Fatalf("%.100q", got)
	}
	if got := do(t, first, in, "PING"); got != "+PONG\r\n" {
		t.Fatalf("%.100q", got)
	}
	eventually(t, func() bool { return s.large.left() == 3<<20 })
}

// stream gives out some pieces, then an error.
type stream struct {
	pieces []string
	end    error
	closed *int
}

func (s *stream) Next() ([]byte, error) {
	if len(s.pieces) == 0 {
		return nil, s.end
	}
	piece := s.pieces[0]
	s.pieces = s.pieces[1:]
	return []byte(piece), nil
}

func (s *stream) Close() { *s.closed++ }

// A value that comes piece by piece is the reply or, if it breaks off in the middle, the end of the connection.
func TestAReplyThatCannotBeFinishedEndsTheConnection(t *testing.T) {
	for name, test := range map[string]struct {
		command string
		stream  stream
		want    string // of the connection, whose last command is PING
		opens   [2]uint64
	}{
		"whole":        {"GET k", stream{pieces: []string{"abc", "de"}, end: io.EOF}, "$5\r\nabcde\r\n+PONG\r\n", [2]uint64{0, 5}},
		"broken":       {"GET k", stream{pieces: []string{"abc"}, end: errors.New("broken")}, "$5\r\nabc", [2]uint64{0, 5}},
		"never":        {"GET k", stream{end: api.Errorf(api.CodeOverloaded, "full")}, "-OVERLOADED full\r\n+PONG\r\n", [2]uint64{0, 5}},
		"range":        {"GETRANGE k 1 3", stream{pieces: []string{"bcd"}, end: io.EOF}, "$3\r\nbcd\r\n+PONG\r\n", [2]uint64{1, 4}},
		"one of many":  {"MGET k", stream{pieces: []string{"abcde"}, end: io.EOF}, "*1\r\n$5\r\nabcde\r\n+PONG\r\n", [2]uint64{0, 5}},
		"many, broken": {"MGET k", stream{end: errors.New("broken")}, "", [2]uint64{0, 5}},
	} {
		s, m, address := startServer(t, nil)
		closed := 0
		test.stream.closed = &closed
		stored := &api.Stored{Parts: api.Parts{ID: 1, Bytes: 5}}
		m.onTurn = func(turn *server.Turn) {
			q := &turn.Requests[0]
			if !q.Piecewise {
				t.Errorf("%s: the value is wanted whole", name)
			}
			q.Done, q.Results, q.Stored = true, []api.OpResult{{Applied: true, Existed: true, Number: 5}}, []*api.Stored{stored}
		}
		m.openStored = func(v *api.Stored, start, end uint64) (server.Pieces, error) {
			if v != stored || start != test.opens[0] || end != test.opens[1] {
				t.Errorf("%s: opens [%d, %d)", name, start, end)
			}
			return &test.stream, nil
		}
		c := dial(t, address)
		io.WriteString(c, encode(strings.Fields(test.command)...)+encode("PING")+encode("QUIT"))
		got, err := io.ReadAll(c)
		got = []byte(strings.TrimSuffix(string(got), "+OK\r\n"))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if s.Close(); closed != 1 {
			t.Errorf("%s: closed %d times", name, closed)
		}
		if left := s.unread.room.left(); left != s.opts.MaxReplyBytes {
			t.Errorf("%s: %d bytes are held", name, s.opts.MaxReplyBytes-left)
		}
	}
}
