package resp

import (
	"bufio"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
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
