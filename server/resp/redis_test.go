package resp

import (
	"bufio"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/lightning-db/lightning/internal/testkit"
)

// TestRepliesAreThoseOfRedis runs the scripts in testdata/redis. In "do" (RESP2) and "resp3" the
// replies are the same here and in Redis. Where they differ, "ours" has this server's and "redis"
// Redis' own; both kinds speak RESP2.
//
// With LIGHTNING_REDIS set to the address of a redis-server 7.0 the scripts are run against that
// instead, which proves that the replies are Redis'. It is emptied first.
func TestRepliesAreThoseOfRedis(t *testing.T) {
	real := os.Getenv("LIGHTNING_REDIS")
	datadriven.Walk(t, "testdata/redis", func(t *testing.T, path string) {
		address := real
		if address == "" {
			_, _, address = startServer(t, nil)
		}
		conns := [2]net.Conn{dial(t, address), dial(t, address)}
		ins := [2]*bufio.Reader{bufio.NewReader(conns[0]), bufio.NewReader(conns[1])}
		do(t, conns[0], ins[0], "FLUSHALL")
		do(t, conns[1], ins[1], "HELLO", "3")
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			n := 0
			switch {
			case d.Cmd == "resp3":
				n = 1
			case d.Cmd == "ours" && real != "", d.Cmd == "redis" && real == "":
				return d.Expected
			case d.Cmd != "do" && d.Cmd != "ours" && d.Cmd != "redis":
				t.Fatalf("unknown directive %s", d.Cmd)
			}
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				line = strings.TrimSuffix(line, "\n")
				if _, err := io.WriteString(conns[n], line+"\r\n"); err != nil {
					t.Fatal(err)
				}
				out.WriteString("> " + line + "\n" + escape(readReply(t, ins[n])))
			}
			return out.String()
		})
	})
}

// notes are remarks on key specifications, which are not part of the table here.
var notes = regexp.MustCompile(`\*8\r\n\$5\r\nnotes\r\n\$\d+\r\n[^\r]*\r\n`)

// TestRowsAreThoseOfRedis compares the table with what COMMAND INFO of a real redis-server says, if
// LIGHTNING_REDIS has its address.
func TestRowsAreThoseOfRedis(t *testing.T) {
	redis := os.Getenv("LIGHTNING_REDIS")
	if redis == "" {
		t.Skip("LIGHTNING_REDIS is not set")
	}
	c, in := both(t, redis)
	later := []string{"client|setinfo", "client|no-touch", "cluster|myshardid"} // than Redis 7.0
	for _, cmd := range commands {
		for _, row := range append([]*command{cmd}, cmd.subs...) {
			if len(row.subs) > 0 || slices.Contains(later, row.name) {
				continue // subcommands come in no order in Redis
			}
			var rows [2]string
			for i := range c {
				rows[i] = notes.ReplaceAllString(do(t, c[i], in[i], "COMMAND", "INFO", row.name), "*6\r\n")
			}
			if rows[0] != rows[1] {
				t.Errorf("%s: %q, and Redis has %q", row.name, rows[0], rows[1])
			}
		}
	}
}

// both are connections to a server of ours and to a real one.
func both(t *testing.T, redis string) (c [2]net.Conn, in [2]*bufio.Reader) {
	_, _, ours := startServer(t, nil)
	for i, address := range []string{ours, redis} {
		c[i] = dial(t, address)
		in[i] = bufio.NewReader(c[i])
		do(t, c[i], in[i], "FLUSHALL")
	}
	return c, in
}

// TestGlobsMatchAsInRedis tries random patterns on random keys with a real redis-server, if
// LIGHTNING_REDIS has its address.
func TestGlobsMatchAsInRedis(t *testing.T) {
	redis := os.Getenv("LIGHTNING_REDIS")
	if redis == "" {
		t.Skip("LIGHTNING_REDIS is not set")
	}
	c, in := both(t, redis)
	r := testkit.Rand(t)
	random := func(alphabet string, longest int) string {
		text := make([]byte, 1+r.IntN(longest))
		for i := range text {
			text[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(text)
	}
	for range 3000 {
		key, pattern := random("abc-]", 6), random("abc*?[]^-\\", 10)
		var replies [2]string
		for i := range c {
			do(t, c[i], in[i], "SET", key, "")
			replies[i] = do(t, c[i], in[i], "KEYS", pattern)
			do(t, c[i], in[i], "DEL", key)
		}
		if replies[0] != replies[1] {
			t.Errorf("%q on %q: %q, and Redis has %q", pattern, key, replies[0], replies[1])
		}
	}
}
