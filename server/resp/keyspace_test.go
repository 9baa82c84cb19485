package resp

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// A KEYS whose answer would be too large is refused, and costs the connection nothing.
func TestKeysIsRefusedBeyondTheSizeOfAReply(t *testing.T) {
	_, m, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	tail := strings.Repeat("x", api.MaxKeyBytes-8)
	for i := range api.MaxReplyBytes / api.MaxKeyBytes {
		m.items[fmt.Sprintf("%08d", i)+tail] = api.Item{Found: true}
	}
	if got := do(t, c, in, "KEYS", "*"); !strings.HasPrefix(got, "-ERR ") || !strings.Contains(got, "use SCAN") {
		t.Fatalf("%.100q", got)
	}
	if got := do(t, c, in, "KEYS", "000001*"); !strings.HasPrefix(got, "*100\r\n") {
		t.Fatalf("%.100q", got)
	}
}

// U3: KEYS holds a reply in memory, so it takes one of the rights to do so and gives it back, also
// if its pattern is large already.
func TestKeysIsALargeCommand(t *testing.T) {
	s, _, address := startServer(t, func(o *Options) { o.MaxLargeCommands = 1 })
	c := dial(t, address)
	in := bufio.NewReader(c)
	for range 3 {
		for _, pattern := range []string{"*", "?" + strings.Repeat("x", wire.LargeCommandBytes)} {
			if got := do(t, c, in, "KEYS", pattern); got != "*0\r\n" {
				t.Fatalf("%.100q", got)
			}
		}
	}
	do(t, c, in, "PING") // the right of the command before is given back
	if len(s.large) != 0 {
		t.Fatal("a right to hold a large command is lost")
	}
}

func TestAPatternThatIsTooExpensiveIsRefused(t *testing.T) {
	_, m, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	m.items[strings.Repeat("a", api.MaxKeyBytes)] = api.Item{Found: true}
	pattern := "*" + strings.Repeat("a", api.MaxKeyBytes/2) + "b"
	for _, command := range [][]string{{"KEYS", pattern}, {"SCAN", "0", "MATCH", pattern}} {
		if got := do(t, c, in, command...); !strings.HasPrefix(got, "-ERR the pattern is too expensive") {
			t.Errorf("%.100q", got)
		}
	}
}
