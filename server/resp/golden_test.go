package resp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestScripts runs the scripts in testdata: each line is sent as an inline command, with Go's
// escapes, and the raw reply is compared. "raw" sends bytes as they are and reads until the
// server closes the connection or has nothing more to say.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		_, m, address := startServer(t, nil)
		var c net.Conn
		var in *bufio.Reader
		connect := func() {
			c = dial(t, address)
			in = bufio.NewReader(c)
		}
		connect()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "connect":
				connect()
				return ""
			case "advance":
				duration, err := time.ParseDuration(d.Input)
				if err != nil {
					t.Fatal(err)
				}
				m.clock.Advance(duration)
				return ""
			case "raw":
				return runRaw(t, c, unescape(t, d.Input))
			case "do":
				var out strings.Builder
				for line := range strings.Lines(d.Input) {
					io.WriteString(c, strings.TrimSuffix(line, "\n")+"\r\n")
					out.WriteString(escape(readReply(t, in)))
				}
				return out.String()
			}
			t.Fatalf("unknown directive %s", d.Cmd)
			return ""
		})
	})
}

func unescape(t *testing.T, s string) string {
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "") + `"`)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// escape shows a reply on one line per line of the protocol.
func escape(reply string) string {
	q := strconv.Quote(reply)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	return strings.ReplaceAll(q, `\r\n`, "\\r\\n\n")
}

func runRaw(t *testing.T, c net.Conn, data string) string {
	io.WriteString(c, data)
	c.(*net.TCPConn).CloseWrite()
	reply, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return escape(string(reply)) + "<closed>\n"
}

// readReply reads one whole reply of either version of the protocol.
func readReply(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$', '=':
		if n < 0 {
			return line
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(in, body); err != nil {
			t.Fatal(err)
		}
		return line + string(body)
	case '*', '~', '%', '>':
		if line[0] == '%' {
			n *= 2
		}
		for range n {
			line += readReply(t, in)
		}
	}
	return line
}

// do sends one command and returns its reply.
func do(t *testing.T, c net.Conn, in *bufio.Reader, args ...string) string {
	t.Helper()
	if _, err := io.WriteString(c, encode(args...)); err != nil {
		t.Fatal(err)
	}
	return readReply(t, in)
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
