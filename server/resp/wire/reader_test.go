package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/lightning-db/lightning/api"
)

// encode writes a command as clients do.
func encode(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}

func noReserve(int) error { return nil }

func noClaim(int, bool) error { return nil }

// readAll reads every request of a stream.
func readAll(in io.Reader) (requests []Request, err error) {
	r := NewReader(in, noReserve, noClaim)
	for {
		q, err := r.Next()
		if err != nil {
			return requests, err
		}
		requests = append(requests, q)
	}
}

func join(args [][]byte) string { return string(bytes.Join(args, []byte("|"))) }

func TestInlineCommandsAreSplitAsRedisDoes(t *testing.T) {
	for line, want := range map[string]string{
		"a b  c":           "a|b|c",
		"\t a\tb ":         "a|b",
		`a "b c" 'd e'`:    "a|b c|d e",
		`"\x41\x4g\n\q"`:   "Ax4g\nq",
		`'a\'b\n'`:         `a'b\n`,
		`""`:               "",
		`a""`:              "a",
		`a"b c"`:           "ab c",
		`"\x4`:             "error",
		`"a`:               "error",
		`'a`:               "error",
		`"a"b`:             "error",
		`"a\`:              "error",
		"":                 "",
		`x "\a\b\t\r\\\""`: "x|\a\b\t\r\\\"",
	} {
		args, ok := splitInline([]byte(line))
		got := join(args)
		if !ok {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestRequestsArriveInAnyPieces(t *testing.T) {
	stream := encode("SET", "k", strings.Repeat("v", 70_000)) + "PING a\r\n" + encode("GET", "") + "\n" + encode("ECHO", "\r\n$3\r\n")
	for name, in := range map[string]io.Reader{
		"whole": strings.NewReader(stream), "bytes": iotest.OneByteReader(strings.NewReader(stream)), "halves": iotest.HalfReader(strings.NewReader(stream)),
	} {
		requests, err := readAll(in)
		if err != io.EOF || len(requests) != 4 {
			t.Fatalf("%s: %d requests, %v", name, len(requests), err)
		}
		if join(requests[1].Args) != "PING|a" || join(requests[2].Args) != "GET|" || join(requests[3].Args) != "ECHO|\r\n$3\r\n" || len(requests[0].Args[2]) != 70_000 {
			t.Fatalf("%s: %v", name, requests[1:])
		}
	}
}

// zeros is an endless value that is made without memory.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

func TestWhatIsTooLargeIsSkippedAndNamed(t *testing.T) {
	value := func(size int64) io.Reader { return &zeros{size} }
	text := func(s string) io.Reader { return strings.NewReader(s) }
	for name, c := range map[string]struct {
		in   io.Reader
		want []string
	}{
		"value": {
			io.MultiReader(text("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108865\r\n"), value(67108865), text("\r\n")),
			[]string{"67108865", "67108864"},
		},
		"largest bulk of Redis": {
			io.MultiReader(text("*2\r\n$3\r\nGET\r\n$536870912\r\n"), value(536870912), text("\r\n")),
			[]string{"536870912", "67108864"},
		},
		"command": {
			io.MultiReader(text("*3\r\n$3\r\nDEL\r\n$40000000\r\n"), value(40000000), text("\r\n$40000000\r\n"), value(40000000), text("\r\n")),
			[]string{"command", "67239936"},
		},
		"arguments": {
			text("*100017\r\n" + strings.Repeat("$1\r\na\r\n", 100017)),
			[]string{"100017", "100016"},
		},
	} {
		requests, err := readAll(io.MultiReader(c.in, text(encode("PING"))))
		if err != io.EOF || len(requests) != 2 {
			t.Fatalf("%s: %d requests, %v", name, len(requests), err)
		}
		if !errors.Is(requests[0].Refused, api.ErrTooLarge) || requests[1].Refused != nil {
			t.Fatalf("%s: %v", name, requests[0].Refused)
		}
		for _, want := range c.want {
			if !strings.Contains(requests[0].Refused.Error(), want) {
				t.Errorf("%s: %q does not say %s", name, requests[0].Refused, want)
			}
		}
	}
}

func TestTheLargestValueWithTheLongestKeyIsTaken(t *testing.T) {
	requests, err := readAll(strings.NewReader(encode("SET", strings.Repeat("k", api.MaxKeyBytes), strings.Repeat("v", api.MaxValueBytes), "PX", "100", "NX", "GET")))
	if err != io.EOF || len(requests) != 1 || requests[0].Refused != nil {
		t.Fatal(len(requests), err)
	}
}

func TestLargeRequestsReserveWhatTheyTake(t *testing.T) {
	reserved := 0
	large, small := encode("SET", "k", strings.Repeat("v", 70_000), strings.Repeat("w", 700_000)), encode("SET", "k", "v")
	r := NewReader(strings.NewReader(large+small), func(bytes int) error { reserved += bytes; return nil }, noClaim)
	for _, want := range []int{770_004 - LargeCommandBytes, 0} {
		reserved = 0
		q, err := r.Next()
		if err != nil || reserved < want || reserved > want+4*argOverheadBytes || len(q.Args) < 3 || strings.Trim(string(q.Args[2]), "v") != "" {
			t.Fatalf("reserved %d, want %d: %v", reserved, want, err)
		}
	}
}

func TestALargeRequestWithoutRoomIsRefusedAndTheNextIsRead(t *testing.T) {
	full := api.Errorf(api.CodeOverloaded, "full")
	r := NewReader(strings.NewReader(encode("SET", "k", strings.Repeat("v", 700_000), "w")+encode("GET", "k")), func(int) error { return full }, noClaim)
	if q, err := r.Next(); err != nil || q.Refused != full || len(q.Args) != 1 {
		t.Fatal(q, err)
	}
	if q, err := r.Next(); err != nil || q.Refused != nil || len(q.Args) != 2 {
		t.Fatal(q, err)
	}
	ended := errors.New("ended")
	r = NewReader(strings.NewReader(encode("GET", strings.Repeat("v", 700_000))), func(int) error { return ended }, noClaim)
	if _, err := r.Next(); err != ended {
		t.Fatal(err)
	}
}

// UW1
func TestARequestThatIsOnlyAnnouncedReservesNothing(t *testing.T) {
	for _, sent := range []int{0, 1, 1000, LargeCommandBytes - 200} {
		stream := fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s", api.MaxInlineBytes, strings.Repeat("v", sent))
		r := NewReader(strings.NewReader(stream), func(int) error { return errors.New("reserved") }, noClaim)
		if _, err := r.Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes of a large value came: %v", sent, err)
		}
	}
}

// A long argument has room as a whole before any of it is read, and only the first of a command waits for it.
func TestALongArgumentClaimsItsLengthFirst(t *testing.T) {
	const long = api.MaxInlineBytes + 1
	type claim struct {
		bytes int
		first bool
	}
	var claims []claim
	refuse := false
	stream := encode("MSET", "a", strings.Repeat("v", long), "b", strings.Repeat("w", long), "c", strings.Repeat("x", 10))
	r := NewReader(strings.NewReader(stream+stream+encode("GET", "k")), noReserve, func(bytes int, first bool) error {
		if claims = append(claims, claim{bytes, first}); refuse && !first {
			return api.Errorf(api.CodeOverloaded, "full")
		}
		return nil
	})
	q, err := r.Next()
	if err != nil || len(q.Args) != 7 || len(q.Args[4]) != long || !slices.Equal(claims, []claim{{long, true}, {long, false}}) {
		t.Fatalf("%d arguments, %v, claims %v", len(q.Args), err, claims)
	}
	refuse = true
	if q, err := r.Next(); err != nil || !errors.Is(q.Refused, api.ErrOverloaded) || len(q.Args) != 1 {
		t.Fatalf("%v, %v", q.Refused, err)
	}
	if q, err := r.Next(); err != nil || len(q.Args) != 2 {
		t.Fatal(q, err)
	}
}

func TestLongLinesEndTheConnection(t *testing.T) {
	long := strings.Repeat("x", maxLineBytes+20_000)
	for _, stream := range []string{long, "*" + long, "*1\r\n$" + long} {
		_, err := readAll(strings.NewReader(stream))
		var broken ProtocolError
		if !errors.As(err, &broken) || !strings.Contains(err.Error(), "too big") {
			t.Errorf("%.10q: %v", stream, err)
		}
	}
	if requests, err := readAll(strings.NewReader("ECHO " + strings.Repeat("x", 60_000) + "\r\n")); err != io.EOF || len(requests) != 1 {
		t.Errorf("an inline command of 60,000 bytes: %v", err)
	}
}

// FuzzReader: no input makes the reader panic, hold more than its bounds, or read differently
// when it arrives in pieces; what it read, encoded again, reads the same.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		encode("SET", "k", "v"), encode("GET", "k") + encode("PING"), "PING\r\n", "SET k 'a b'\r\n", `GET "\x00"` + "\n", "*1\r\n$-1\r\n",
		"*1\r\n$9223372036854775800\r\n", "*-1\r\n*0\r\n", "*2\r\n$1\r\na\r\n", "*1\n$1\na\r\n", "$3\r\nabc\r\n", "*100017\r\n$1\r\na\r\n", "*1\r\n$8388609\r\nx",
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8388608\r\n", "\x16\x03\x01\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		whole, wholeErr := readAll(bytes.NewReader(stream))
		pieces, piecesErr := readAll(iotest.OneByteReader(bytes.NewReader(stream)))
		if len(whole) != len(pieces) || wholeErr.Error() != piecesErr.Error() {
			t.Fatalf("whole: %d requests, %v; in pieces: %d, %v", len(whole), wholeErr, len(pieces), piecesErr)
		}
		stranger := NewReader(bytes.NewReader(stream), func(int) error { t.Error("a stranger takes memory for a large request"); return nil }, noClaim)
		stranger.Strange = true
		for {
			q, err := stranger.Next()
			if err != nil {
				break
			}
			if size := len(join(q.Args)); size > 2*maxStrangeBytes || strings.HasPrefix(string(stream), "*") && len(whole) == 1 && len(q.Args) > maxStrangeArgs {
				t.Fatalf("a stranger's request of %d bytes and %d arguments", size, len(q.Args))
			}
		}
		for i, q := range whole {
			if join(q.Args) != join(pieces[i].Args) {
				t.Fatalf("request %d: %q and %q", i, q.Args, pieces[i].Args)
			}
			if q.Refused != nil {
				continue
			}
			var args []string
			for _, arg := range q.Args {
				args = append(args, string(arg))
			}
			again, err := readAll(strings.NewReader(encode(args...)))
			if err != io.EOF || len(again) != 1 || join(again[0].Args) != join(q.Args) {
				t.Fatalf("%q reads as %v, %v", args, again, err)
			}
		}
	})
}
