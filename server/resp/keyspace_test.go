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

// U3: KEYS holds a reply in memory, so it takes room for it and gives it back, also if its pattern
// is large already.
func TestKeysIsALargeCommand(t *testing.T) {
	const room = 1 << 20
	s, m, address := startServer(t, func(o *Options) { o.MaxLargeBytes = room })
	for i := range 3_000 {
		m.items[fmt.Sprintf("%0100d", i)] = api.Item{Found: true}
	}
	c := dial(t, address)
	in := bufio.NewReader(c)
	for range 3 {
		for pattern, want := range map[string]string{"*": "*3000\r\n", "?" + strings.Repeat("x", wire.LargeCommandBytes): "*0\r\n"} {
			if got := do(t, c, in, "KEYS", pattern); !strings.HasPrefix(got, want) {
				t.Fatalf("%.100q", got)
			}
		}
	}
	do(t, c, in, "PING") // the room of the command before is given back
	if left := s.large.left(); left != room {
		t.Fatalf("%d bytes of room are lost", room-left)
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
