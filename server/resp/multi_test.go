package resp

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
)

// all sends commands and joins their replies.
func all(t *testing.T, c io.Writer, in *bufio.Reader, commands ...string) string {
	t.Helper()
	var replies strings.Builder
	for _, command := range commands {
		if _, err := io.WriteString(c, encode(strings.Fields(command)...)); err != nil {
			t.Fatal(err)
		}
		replies.WriteString(readReply(t, in))
	}
	return replies.String()
}

func TestABlockIsOneIndependentWrite(t *testing.T) {
	_, m, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	all(t, c, in, "SET k 1", "WATCH k", "MULTI", "INCR k", "GET k", "SET other x NX", "SETRANGE k x y", "DEL other")
	got := all(t, c, in, "EXEC")
	if want := "*5\r\n:2\r\n$1\r\n2\r\n+OK\r\n-ERR value is not an integer or out of range\r\n:1\r\n"; got != want {
		t.Fatalf("%q", got)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.batches[len(m.batches)-1]
	if !b.Independent || len(b.Ops) < 5 || b.Ops[0].Kind != api.OpCheck || string(b.Ops[0].Key) != "k" || b.Ops[0].Condition.Kind != api.ConditionVersion || len(m.batches) != 2 {
		t.Errorf("%d batches, the last is %+v", len(m.batches), b)
	}
}

// P6: nobody knows what became of the block, so no element may say that it does.
func TestAnUnknownOutcomeIsThatOfTheWholeBlock(t *testing.T) {
	_, m, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	all(t, c, in, "MULTI", "PING", "SET a 1", "GET a")
	m.mu.Lock()
	m.fail = api.Errorf(api.CodeUnknownOutcome, "it may have been executed")
	m.mu.Unlock()
	if got := all(t, c, in, "EXEC", "EXEC"); got != "-UNKNOWN it may have been executed\r\n-ERR EXEC without MULTI\r\n" {
		t.Fatalf("%q", got)
	}
}

func TestABlockOverSeveralShardsIsRefused(t *testing.T) {
	_, m, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	all(t, c, in, "MULTI", "SET a 1", "SET b 1")
	m.mu.Lock()
	m.fail = api.Errorf(api.CodeCrossShard, "keys on several shards")
	m.mu.Unlock()
	if got := all(t, c, in, "EXEC"); got != "-CROSSSLOT keys on several shards\r\n" {
		t.Fatalf("%q", got)
	}
}

func TestACommandAboutAllKeysBreaksABlock(t *testing.T) {
	_, _, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	for _, command := range []string{"SCAN 0", "KEYS *", "DBSIZE", "RANDOMKEY", "FLUSHDB", "FLUSHALL"} {
		got := all(t, c, in, "MULTI", command, "EXEC")
		name, _, _ := strings.Cut(command, " ")
		if !strings.HasPrefix(got, "+OK\r\n-ERR "+name+" is not allowed inside a transaction: ") ||
			!strings.HasSuffix(got, "\r\n-EXECABORT Transaction discarded because of previous errors.\r\n") {
			t.Errorf("%s: %q", command, got)
		}
	}
}

// U5: what blocks and watched keys hold is bounded, for a connection and for all of them.
func TestWhatBlocksHoldIsBounded(t *testing.T) {
	s, _, address := startServer(t, func(o *Options) { o.MaxQueuedBytes = 5 << 20 })
	value := strings.Repeat("v", 1<<20)
	c, other := dial(t, address), dial(t, address)
	in, otherIn := bufio.NewReader(c), bufio.NewReader(other)
	all(t, c, in, "MULTI")
	for range 4 {
		if got := all(t, c, in, "SET k "+value); got != "+QUEUED\r\n" {
			t.Fatal(got)
		}
	}
	all(t, other, otherIn, "MULTI")
	got := all(t, other, otherIn, "SET k "+value, "EXEC")
	if want := "-OVERLOADED the open transactions of all connections hold too much memory; try again\r\n-EXECABORT Transaction discarded because of previous errors.\r\n"; got != want {
		t.Fatalf("%q", got)
	}
	if got := all(t, c, in, "EXEC"); !strings.HasPrefix(got, "*4\r\n") {
		t.Fatal(got)
	}
	if held := s.queued.Load(); held != 0 {
		t.Errorf("%d bytes are held after EXEC", held)
	}
	all(t, other, otherIn, "WATCH a b c", "MULTI", "SET k "+value)
	other.Close()
	eventually(t, func() bool { return s.queued.Load() == 0 })
}

func TestABlockIsNoLargerThanABatch(t *testing.T) {
	_, _, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	all(t, c, in, "MULTI")
	value := strings.Repeat("v", api.MaxValueBytes/2)
	do(t, c, in, "SET", "k", value)
	got := do(t, c, in, "SET", "k", value+value)
	got += all(t, c, in, "EXEC")
	if !strings.HasPrefix(got, "-ERR a transaction of more than ") || !strings.HasSuffix(got, "-EXECABORT Transaction discarded because of previous errors.\r\n") {
		t.Fatalf("%q", got)
	}
}

func TestWatchedKeysAreFew(t *testing.T) {
	_, _, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	if got := all(t, c, in, "WATCH"+strings.Repeat(" k", 2000)); got != "-ERR more than 1024 watched keys are over the limit\r\n" {
		t.Fatalf("%q", got)
	}
	if got := all(t, c, in, "WATCH k", "WATCH k k"); got != "+OK\r\n+OK\r\n" {
		t.Fatalf("%q", got)
	}
}

func TestAWatchedKeyThatExpiresHasChanged(t *testing.T) {
	_, m, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	all(t, c, in, "SET k v PX 100", "WATCH k", "MULTI", "PING")
	m.clock.Advance(1e9)
	if got := all(t, c, in, "EXEC"); got != "*-1\r\n" {
		t.Fatalf("%q", got)
	}
}

func TestRepliesAreMutedAsAsked(t *testing.T) {
	_, _, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	send := func(commands ...string) {
		for _, command := range commands {
			io.WriteString(c, encode(strings.Fields(command)...))
		}
	}
	send("ECHO 1", "CLIENT REPLY SKIP", "ECHO skipped", "ECHO 2", "CLIENT REPLY OFF", "ECHO off", "GET", "CLIENT REPLY ON", "ECHO 3")
	for _, want := range []string{bulk("1"), bulk("2"), "+OK\r\n", bulk("3")} {
		if got := readReply(t, in); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	send("MULTI", "CLIENT SETNAME x", "CLIENT REPLY OFF", "PING", "EXEC", "PING", "RESET")
	want := "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+RESET\r\n" // Redis' EXEC stops there too
	got := make([]byte, len(want))
	if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestABlockThatReadsTooMuchDoesNothing(t *testing.T) {
	_, _, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	if got := do(t, c, in, "SET", "big", strings.Repeat("v", 5<<20)); got != "+OK\r\n" {
		t.Fatal(got)
	}
	all(t, c, in, "MULTI", "SET k 1", "GET big", "GET big")
	if got := all(t, c, in, "EXEC"); !strings.HasPrefix(got, "-ERR a stored value that the batch returns or keeps is over the limit") {
		t.Fatalf("%.100q", got)
	}
	if got := all(t, c, in, "GET k"); got != "$-1\r\n" {
		t.Fatalf("%q", got)
	}
}
