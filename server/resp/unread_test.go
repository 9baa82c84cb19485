package resp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// pipe connects a client that takes in nothing but what it reads.
func pipe(t *testing.T, s *Server) net.Conn {
	t.Helper()
	client, far := net.Pipe()
	t.Cleanup(func() { client.Close() })
	client.SetDeadline(time.Now().Add(20 * time.Second))
	s.accept(far)
	return client
}

const unreadBytes = 1 << 20

// startUnread serves values of a MiB under the keys 0 to 9, with room for replies of so many of them.
func startUnread(t *testing.T, room int) (*Server, *memory, string) {
	s, m, address := startServer(t, func(o *Options) { o.MaxReplyBytes = room * unreadBytes })
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range 10 {
		m.items[fmt.Sprint(i)] = api.Item{Value: []byte(strings.Repeat("v", unreadBytes)), Found: true, Version: 1}
	}
	return s, m, address
}

// ask sends a command and waits until its reply has begun.
func ask(t *testing.T, c net.Conn, commands ...string) {
	t.Helper()
	if _, err := io.WriteString(c, strings.Join(commands, "")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// U3: replies that nobody takes in hold no more than their room together, whatever asked for them.
// What is small is answered meanwhile, and what finds no room is refused without a part of a reply.
func TestUnreadRepliesAreBounded(t *testing.T) {
	for name, large := range map[string]string{
		"MGET": encode("MGET", "0", "1", "2", "3"),
		"EXEC": encode("MULTI") + encode("GET", "0") + encode("GET", "1") + encode("GET", "2") + encode("GET", "3") + encode("EXEC"),
	} {
		t.Run(name, func(t *testing.T) {
			s, m, _ := startUnread(t, 8)
			first := pipe(t, s)
			if name == "EXEC" {
				large = strings.TrimPrefix(large, encode("MULTI"))
				ask(t, first, encode("MULTI"))
				in := bufio.NewReader(first)
				in.ReadString('\n')
				for range 4 {
					n := strings.Index(large[1:], "*") + 1
					do(t, first, in, "GET", "0")
					large = large[n:]
				}
			}
			ask(t, first, large)
			if left := s.unread.room.left(); left != 4*unreadBytes {
				t.Fatalf("%d bytes of room are left", left)
			}
			second := pipe(t, s)
			in := bufio.NewReader(second)
			if got := do(t, second, in, "MGET", "0", "1", "2"); !strings.HasPrefix(got, "-OVERLOADED") {
				t.Fatalf("%.100q", got)
			}
			if got := do(t, second, in, "GETDEL", "0"); got != bulk(strings.Repeat("v", unreadBytes)) { // half of what is left
				t.Fatalf("%.100q", got)
			}
			if got := do(t, second, in, "SET", "small", "v") + do(t, second, in, "GET", "small"); got != "+OK\r\n$1\r\nv\r\n" {
				t.Fatalf("%.100q", got)
			}
			// Once it is behind it makes room.
			m.clock.Advance(2 * maxReplyLag)
			if got := do(t, second, in, "MGET", "1", "2", "3"); !strings.HasPrefix(got, "*3\r\n") {
				t.Fatalf("%.100q", got)
			}
			if rest, err := io.ReadAll(first); err != nil || len(rest) > unreadBytes {
				t.Errorf("%d bytes more, %v", len(rest), err)
			}
			if got := do(t, second, in, "INFO", "stats"); !strings.Contains(got, "client_output_buffer_limit_disconnections:1\r\n") {
				t.Errorf("%s", got)
			}
			do(t, second, in, "PING")
			if left := s.unread.room.left(); left != 8*unreadBytes {
				t.Errorf("%d bytes of room are left at the end", left)
			}
		})
	}
}

// A client that keeps the pace is not cut, and its reply gives room back as it is taken in.
func TestAReplyThatIsTakenInGivesItsRoomBack(t *testing.T) {
	s, m, _ := startUnread(t, 8)
	slow := pipe(t, s)
	ask(t, slow, encode("MGET", "0", "1", "2", "3"))
	in := bufio.NewReader(slow)
	in.ReadString('\n')
	for range 3 {
		if got := readReply(t, in); len(got) < unreadBytes {
			t.Fatalf("%.100q", got)
		}
	}
	m.clock.Advance(maxReplyLag + time.Second/2)
	if _, err := in.ReadString('\n'); err != nil { // the fourth has begun, so three are done
		t.Fatal(err)
	}
	if left := s.unread.room.left(); left < 7*unreadBytes {
		t.Fatalf("%d bytes of room are left", left)
	}
	if s.unread.cutSlowest() {
		t.Fatal("a client that keeps the pace is cut")
	}
	m.clock.Advance(time.Second)
	if !s.unread.cutSlowest() {
		t.Fatal("a client that stopped is not cut")
	}
}

// A write whose reply finds no room has run, and its error says that it may have.
func TestAWriteWhoseReplyHasNoRoomIsUncertain(t *testing.T) {
	s, m, _ := startUnread(t, 8)
	for _, mib := range []int{4, 2, 1} {
		if !s.unread.room.tryTake(mib * unreadBytes) {
			t.Fatal("no room")
		}
	}
	c := pipe(t, s)
	in := bufio.NewReader(c)
	if got := do(t, c, in, "GETDEL", "9"); !strings.HasPrefix(got, "-UNKNOWN") {
		t.Fatalf("%.100q", got)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.items["9"].Found {
		t.Error("the write has not run")
	}
}

// KEYS, SCAN and CLIENT LIST hold replies too.
func TestRepliesOfManyKeysTakeRoom(t *testing.T) {
	s, m, _ := startServer(t, nil)
	m.mu.Lock()
	for i := range 2000 {
		m.items[fmt.Sprintf("%0200d", i)] = api.Item{Found: true}
	}
	m.mu.Unlock()
	for _, command := range [][]string{{"KEYS", "*"}, {"SCAN", "0", "COUNT", "1000"}} {
		c := pipe(t, s)
		ask(t, c, encode(command...))
		if left := s.unread.room.left(); left > s.opts.MaxReplyBytes-wire.LargeCommandBytes/2 {
			t.Errorf("%v holds nothing", command)
		}
		if left := s.large.left(); left != s.opts.MaxLargeBytes {
			t.Errorf("%v keeps %d bytes from other commands", command, s.opts.MaxLargeBytes-left)
		}
		c.Close()
	}
}
