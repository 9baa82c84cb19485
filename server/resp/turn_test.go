package resp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/server"
)

// exchange sends a stream in pieces and returns everything that is answered to it.
func exchange(t *testing.T, address string, pieces ...string) string {
	t.Helper()
	c := dial(t, address)
	answered := make(chan string)
	go func() {
		all, _ := io.ReadAll(c)
		answered <- string(all)
	}()
	for _, piece := range pieces {
		if _, err := io.WriteString(c, piece); err != nil {
			t.Fatal(err)
		}
	}
	return <-answered
}

// A pipeline is answered as its commands are when each is sent after the reply to the one before,
// wherever the network cuts it.
func TestAPipelineIsAnsweredAsItsCommandsAloneAre(t *testing.T) {
	rng := testkit.Rand(t)
	for range 30 {
		var commands []string
		for range 1 + rng.IntN(60) {
			commands = append(commands, randomCommand(rng))
		}
		commands = append(commands, encode("QUIT"))
		_, _, one := startServer(t, nil)
		_, pipelined, other := startServer(t, nil)
		if rng.IntN(2) == 0 {
			pipelined.undone = 3 // of a turn at most so many are done
		}
		want, c := "", dial(t, one)
		in := bufio.NewReader(c)
		for _, command := range commands {
			// An answer of its own tells where that of the command ends, also if it has none.
			fmt.Fprint(c, command, encode("ECHO", "end of the answer"))
			want += until(t, in, "$17\r\nend of the answer\r\n")
		}
		if got := exchange(t, other, randomPieces(rng, strings.Join(commands, ""))...); got != want {
			t.Fatalf("%q\nis answered %q\nand in a pipeline %q", commands, want, got)
		}
	}
}

// until reads up to an end and takes it off. A connection that is closed ends too.
func until(t *testing.T, in *bufio.Reader, end string) string {
	t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), end) {
		one, err := in.ReadByte()
		if err != nil {
			return b.String()
		}
		b.WriteByte(one)
	}
	return strings.TrimSuffix(b.String(), end)
}

func randomCommand(rng *rand.Rand) string {
	key := func() string { return fmt.Sprint("k", rng.IntN(6)) }
	value := strings.Repeat("v", rng.IntN(30))
	switch rng.IntN(24) {
	case 0, 1, 2:
		return encode("SET", key(), fmt.Sprint(rng.IntN(50)))
	case 3, 4, 5, 6:
		return encode("GET", key())
	case 7, 8:
		return encode("INCR", key())
	case 9:
		return encode("SET", key(), value, "GET")
	case 10:
		return encode("GETDEL", key())
	case 11:
		return encode("APPEND", key(), value)
	case 12:
		return encode("MGET", key(), key())
	case 13:
		return encode("DEL", key(), key())
	case 14:
		return encode("STRLEN", key()) + "PING inline\r\n"
	case 15:
		return encode("MULTI") + encode("INCR", key()) + encode("GET", key()) + encode("EXEC")
	case 16:
		return encode("SET", key(), value, "wrong")
	case 17:
		return encode("GET")
	case 18:
		return encode("NOSUCH", "command")
	case 19:
		return encode("WATCH", key())
	case 20:
		return encode("SELECT", "0")
	case 21:
		return encode("SET", key(), strings.Repeat("large", rng.IntN(20_000)))
	case 22:
		return encode("EXPIRE", key(), "100") + encode("TTL", key())
	default:
		return encode("LCS", key(), key())
	}
}

func randomPieces(rng *rand.Rand, stream string) (pieces []string) {
	for len(stream) > 0 {
		n := min(1+rng.IntN(2000), len(stream))
		pieces, stream = append(pieces, stream[:n]), stream[n:]
	}
	return pieces
}

// One turn is one message to the client, and one call of the store.
func TestATurnIsOneFlush(t *testing.T) {
	m := newMemory()
	s := New(Options{Store: m, Clock: m.clock})
	defer s.Close()
	const turns = 3
	in := &fedConn{turn: []byte(strings.Repeat(encode("SET", "k", "v")+encode("GET", "k"), 8)), turns: turns}
	c := newConn(s, in)
	s.conns.Add(1)
	c.serveConn()
	if m.turns != turns || in.sent != turns {
		t.Fatalf("%d pipelines are run in %d turns and answered in %d messages", turns, m.turns, in.sent)
	}
	if want := strings.Repeat("+OK\r\n$1\r\nv\r\n", 8*turns); in.got.String() != want {
		t.Fatalf("%q", in.got.String())
	}
}

// Who has sent a part of the next command gets the answers to those before it.
func TestCommandsDoNotWaitForTheRestOfTheNextOne(t *testing.T) {
	_, _, address := startServer(t, nil)
	c := dial(t, address)
	next := encode("GET", "k")
	for cut := range len(next) {
		fmt.Fprint(c, encode("SET", "k", "v"), next[:cut])
		expect(t, c, "+OK\r\n")
		fmt.Fprint(c, next[cut:])
		expect(t, c, "$1\r\nv\r\n")
	}
	large := encode("SET", "large", strings.Repeat("x", 300<<10))
	fmt.Fprint(c, encode("INCR", "n"), large[:len(large)/2])
	expect(t, c, ":1\r\n")
	fmt.Fprint(c, large[len(large)/2:])
	expect(t, c, "+OK\r\n")
	fmt.Fprint(c, encode("INCR", "n"), "*1\r\n?broken\r\n")
	expect(t, c, ":2\r\n-ERR Protocol error: expected '$', got '?'\r\n")
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v, want %q", got[:n], err, want)
	}
}

// CLIENT REPLY counts commands of a turn as it counts others.
func TestSilenceFallsOnTheRightCommandsOfAPipeline(t *testing.T) {
	_, _, address := startServer(t, nil)
	got := exchange(t, address, encode("SET", "k", "1")+encode("CLIENT", "REPLY", "SKIP")+encode("GET", "k")+encode("GET", "k")+
		encode("CLIENT", "REPLY", "OFF")+encode("SET", "k", "2")+encode("INCR", "k")+encode("CLIENT", "REPLY", "ON")+encode("GET", "k")+encode("QUIT"))
	if want := "+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n3\r\n+OK\r\n"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
}

// Each command of a pipeline fails for itself, and is counted so.
func TestCommandsOfAPipelineFailForThemselves(t *testing.T) {
	type seen struct {
		name string
		code api.Code
	}
	observed := make(chan seen, 16)
	_, m, address := startServer(t, func(o *Options) {
		o.Observe = func(name string, code api.Code, _ time.Duration) { observed <- seen{name, code} }
	})
	m.before = func(context.Context) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.fail = nil; len(m.batches) == 1 {
			m.fail = api.Errorf(api.CodeUnknownOutcome, "lost")
			m.batches = append(m.batches, api.Batch{})
		}
	}
	got := exchange(t, address, encode("SET", "a", "x")+encode("SET", "a", "y")+encode("INCR", "a")+encode("SET", "", "z")+encode("GETSET", "a", "5")+encode("QUIT"))
	want := "+OK\r\n-UNKNOWN lost\r\n-ERR value is not an integer or out of range\r\n-ERR a key needs at least one byte\r\n$1\r\nx\r\n+OK\r\n"
	if got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	for _, want := range []seen{{"set", ""}, {"set", api.CodeUnknownOutcome}, {"incr", api.CodeNotInteger}, {"set", api.CodeInvalid}, {"getset", ""}, {"quit", ""}} {
		if one := <-observed; one != want {
			t.Fatalf("%v, want %v", one, want)
		}
	}
}

// U4: a panic while a turn runs costs the connection, after an error for all that is not done.
func TestAPanicInATurnCostsTheConnectionOnly(t *testing.T) {
	_, m, address := startServer(t, nil)
	m.before = func(context.Context) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.batches) == 1 {
			panic("a bug")
		}
	}
	got := exchange(t, address, encode("SET", "k", "1")+encode("SET", "k", "2")+encode("GET", "k")+encode("PING"))
	if !strings.HasPrefix(got, "+OK\r\n-UNKNOWN internal error") || strings.Contains(got, "PONG") {
		t.Fatalf("%q", got)
	}
	m.mu.Lock()
	m.before = nil
	m.mu.Unlock()
	if got := exchange(t, address, encode("GET", "k")+encode("QUIT")); got != "$1\r\n1\r\n+OK\r\n" {
		t.Fatalf("%q", got)
	}
}

// U3: a turn ends at its bounds, however much a client sends at once.
func TestATurnIsBounded(t *testing.T) {
	_, m, address := startServer(t, nil)
	most, sent := 0, 3000
	m.onTurn = func(turn *server.Turn) { most = max(most, len(turn.Requests)) }
	got := exchange(t, address, strings.Repeat(encode("INCR", "n"), sent)+encode("QUIT"))
	if !strings.HasSuffix(got, fmt.Sprintf(":%d\r\n+OK\r\n", sent)) {
		t.Fatalf("%d bytes of answers", len(got))
	}
	if most > maxTurnCommands || most < 10 {
		t.Fatalf("turns of up to %d commands", most)
	}
}
