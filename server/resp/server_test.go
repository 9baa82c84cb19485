package resp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// Every row of the error table has its reply, whose first word is the table's.
func TestErrorsBecomeTheRepliesOfTheTable(t *testing.T) {
	_, m, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	for _, row := range api.Table {
		m.mu.Lock()
		m.fail = fmt.Errorf("wrapped: %w", api.Errorf(row.Code, "line one\r\nline two"))
		m.mu.Unlock()
		want := "-" + row.RESP + " wrapped: line one  line two\r\n"
		if text, ok := wire.Texts[row.Code]; ok {
			want = "-" + text + "\r\n"
		}
		for _, command := range [][]string{{"SET", "k", "v"}, {"GET", "k"}, {"MGET", "a", "b"}, {"DEL", "a", "b"}, {"DBSIZE"}, {"SCAN", "0"}, {"EXISTS", "k"}, {"TTL", "k"}, {"EXPIRE", "k", "10", "NX"}, {"KEYS", "*"}, {"RANDOMKEY"}, {"FLUSHALL"}} {
			if got := do(t, c, in, command...); got != want {
				t.Errorf("%s, %v: %q", row.Code, command, got)
			}
		}
		for _, never := range []string{"TRYAGAIN", "CLUSTERDOWN", "LOADING", "MOVED", "ASK"} {
			if row.RESP == never {
				t.Errorf("%s is answered as %s, which clients treat in ways of their own", row.Code, never)
			}
		}
	}
}

func TestAPipelineIsAnsweredInOrder(t *testing.T) {
	_, _, address := startServer(t, nil)
	c := dial(t, address)
	var send, want strings.Builder
	for i := range 2000 {
		key := fmt.Sprint("k", i%10)
		send.WriteString(encode("SET", key, fmt.Sprint(i)))
		send.WriteString(encode("GET", key))
		want.WriteString("+OK\r\n" + bulk(fmt.Sprint(i)))
	}
	go io.WriteString(c, send.String())
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want.String() {
		t.Fatal(err)
	}
}

func TestAValueThatIsTooLargeIsRefusedAndTheConnectionGoesOn(t *testing.T) {
	_, _, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	reply := do(t, c, in, "SET", "k", strings.Repeat("v", api.MaxValueBytes+1))
	if !strings.HasPrefix(reply, "-ERR ") || !strings.Contains(reply, "67108864") {
		t.Fatal(reply)
	}
	value := strings.Repeat("v", api.MaxValueBytes)
	if reply := do(t, c, in, "SET", "k", value); reply != "+OK\r\n" {
		t.Fatal(reply)
	}
	if reply := do(t, c, in, "GET", "k"); reply != bulk(value) {
		t.Fatalf("%d bytes came back", len(reply))
	}
}

// U3: large commands wait for each other, small ones do not.
func TestLargeCommandsAreBounded(t *testing.T) {
	_, m, address := startServer(t, func(o *Options) { o.MaxLargeBytes = 1500 })
	inside, release := make(chan struct{}, 2), make(chan struct{})
	m.before = func(context.Context) {
		inside <- struct{}{}
		<-release
	}
	large := strings.Repeat("v", wire.LargeCommandBytes+1000)
	var all sync.WaitGroup
	conns := []net.Conn{dial(t, address), dial(t, address), dial(t, address)}
	for _, c := range conns[:2] {
		all.Add(1)
		go func() {
			defer all.Done()
			io.WriteString(c, encode("PING")+encode("SET", "k", large))
			in := bufio.NewReader(c)
			if got := readReply(t, in) + readReply(t, in); got != "+PONG\r\n+OK\r\n" {
				t.Errorf("%.20q", got)
			}
		}()
	}
	<-inside
	small := conns[2]
	if got := do(t, small, bufio.NewReader(small), "GET", "k"); got != "$-1\r\n" {
		t.Fatal(got)
	}
	select {
	case <-inside:
		t.Fatal("two large commands run at once")
	default:
	}
	close(release)
	all.Wait()
}

func TestOneConnectionMoreThanAllowedIsRefused(t *testing.T) {
	_, _, address := startServer(t, func(o *Options) { o.MaxConns = 2 })
	for range 2 {
		c := dial(t, address)
		do(t, c, bufio.NewReader(c), "PING")
	}
	reply, err := io.ReadAll(dial(t, address))
	if err != nil || string(reply) != "-ERR max number of clients reached\r\n" {
		t.Fatalf("%q, %v", reply, err)
	}
}

func TestIdleAndStuckClientsAreClosed(t *testing.T) {
	_, _, address := startServer(t, func(o *Options) { o.IdleTimeout, o.CommandTimeout = 50*time.Millisecond, 50*time.Millisecond })
	for _, begun := range []string{"", "*2\r\n$3\r\nGET\r\n$10\r\nab", encode("PING")} {
		c := dial(t, address)
		io.WriteString(c, begun)
		if _, err := io.ReadAll(c); err != nil {
			t.Fatalf("%q: %v", begun, err)
		}
	}
}

func TestAClientThatTakesNothingInIsCut(t *testing.T) {
	s, m, address := startServer(t, func(o *Options) { o.CommandTimeout = 100 * time.Millisecond })
	m.items["k"] = api.Item{Value: make([]byte, api.MaxValueBytes), Found: true}
	c := dial(t, address)
	do(t, c, bufio.NewReader(c), "PING") // from here on the server has the connection
	for range 20 {
		if _, err := io.WriteString(c, encode("GET", "k")); err != nil {
			break
		}
	}
	for s.connCount() > 0 {
		select {
		case <-t.Context().Done():
			t.Fatal("the connection stays")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestCloseLetsARunningCommandEndWithItsReply(t *testing.T) {
	s, m, address := startServer(t, nil)
	idle, busy := dial(t, address), dial(t, address)
	do(t, idle, bufio.NewReader(idle), "PING")
	inside, release := make(chan struct{}), make(chan struct{})
	m.before = func(context.Context) {
		close(inside)
		<-release
	}
	io.WriteString(busy, encode("SET", "k", "v"))
	<-inside
	closed := make(chan struct{})
	go func() {
		s.Close()
		close(closed)
	}()
	if _, err := io.ReadAll(idle); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
		t.Fatal("Close did not wait")
	default:
	}
	close(release)
	reply, err := io.ReadAll(busy)
	if err != nil || string(reply) != "+OK\r\n" {
		t.Fatalf("%q, %v", reply, err)
	}
	<-closed
	if _, err := net.Dial("tcp", address); err == nil {
		t.Fatal("the server still listens")
	}
}

func TestServeAfterCloseEndsAtOnce(t *testing.T) {
	s := New(Options{})
	s.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(ln); err == nil {
		t.Fatal("no error")
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

// U4: our bug costs its connection, not the node.
func TestAPanicEndsTheConnectionOnly(t *testing.T) {
	_, m, address := startServer(t, nil)
	m.before = func(context.Context) { panic("bug") }
	c := dial(t, address)
	reply, err := "", error(nil)
	io.WriteString(c, encode("SET", "k", "v"))
	all, err := io.ReadAll(c)
	if reply = string(all); err != nil || !strings.HasPrefix(reply, "-UNKNOWN internal error in 'set'") {
		t.Fatalf("%q, %v", reply, err)
	}
	other := dial(t, address)
	if got := do(t, other, bufio.NewReader(other), "PING"); got != "+PONG\r\n" {
		t.Fatal(got)
	}
}

func TestTheObserverIsToldOfEveryCommand(t *testing.T) {
	type seen struct {
		command string
		code    api.Code
	}
	var mu sync.Mutex
	var got []seen
	_, _, address := startServer(t, func(o *Options) {
		o.Observe = func(command string, code api.Code, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, seen{command, code})
		}
	})
	c := dial(t, address)
	in := bufio.NewReader(c)
	do(t, c, in, "SeT", "k", "v")
	do(t, c, in, "GET")
	do(t, c, in, "made-up")
	do(t, c, in, "GET", "")
	mu.Lock()
	defer mu.Unlock()
	if want := []seen{{"set", ""}, {"get", api.CodeInvalid}, {"unknown", api.CodeInvalid}, {"get", api.CodeInvalid}}; !slices.Equal(got, want) {
		t.Fatal(got)
	}
}

func TestInfoSaysWhatClientsLookFor(t *testing.T) {
	_, m, address := startServer(t, nil)
	m.items["k"] = api.Item{Value: []byte("v"), Found: true}
	c := dial(t, address)
	in := bufio.NewReader(c)
	all := do(t, c, in, "INFO")
	for _, want := range []string{"# Server", "redis_version:7.", "redis_mode:standalone", "role:master", "cluster_enabled:0", "loading:0", "connected_clients:1", "lightning_node_id:node-1", "lightning_version:test"} {
		if !strings.Contains(all, want) {
			t.Errorf("INFO lacks %s", want)
		}
	}
	if strings.Contains(all, "# Keyspace") {
		t.Error("INFO counts all keys without being asked to")
	}
	if one := do(t, c, in, "INFO", "keyspace"); one != bulk("# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n") {
		t.Errorf("%q", one)
	}
	if one := do(t, c, in, "INFO", "nosuch"); one != bulk("") {
		t.Errorf("%q", one)
	}
}

func TestAWebPageCannotSpeakToUs(t *testing.T) {
	_, m, address := startServer(t, nil)
	c := dial(t, address)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k v\r\n")
	reply, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(reply), "-ERR unknown command 'POST'") || len(m.items) != 0 {
		t.Fatalf("%q, %d keys", reply, len(m.items))
	}
}

func TestTheTableOfCommandsIsSound(t *testing.T) {
	seen := make(map[int]bool)
	for name, cmd := range byName {
		keys := cmd.firstKey != 0
		handlers := 0
		for _, has := range []bool{cmd.run != nil, cmd.plan != nil, len(cmd.subs) > 0 && cmd.run == nil} {
			if has {
				handlers++
			}
		}
		if name != strings.ToLower(name) || cmd.name != name || len(name) > 2*wire.MaxWordBytes || cmd.arity == 0 || handlers != 1 ||
			cmd.summary == "" || cmd.group == "" || cmd.since == "" || len(cmd.categories) == 0 {
			t.Errorf("%s: %+v", name, cmd)
		}
		if keys != (cmd.keyStep != 0) || keys != (cmd.lastKey != 0) || keys != (len(accessOf[name]) > 0) {
			t.Errorf("%s: key positions %d %d %d, %q", name, cmd.firstKey, cmd.lastKey, cmd.keyStep, accessOf[name])
		}
		if slices.Contains(cmd.flags, "write") && slices.Contains(cmd.flags, "readonly") {
			t.Errorf("%s reads and writes", name)
		}
		if findNamed([]byte(strings.ToUpper(name))) != cmd {
			t.Errorf("%s is not found", name)
		}
		if seen[cmd.index] || cmd.index >= len(byName) {
			t.Errorf("%s: index %d", name, cmd.index)
		}
		seen[cmd.index] = true
	}
	for name := range tipsOf {
		if byName[name] == nil {
			t.Errorf("%s has tips and does not exist", name)
		}
	}
	if lookup(make([]byte, wire.MaxWordBytes+1)) != nil || lookup(nil) != nil {
		t.Error("found what does not exist")
	}
}

// FuzzArguments: no arguments make a handler panic or break the order of replies: each command
// gets exactly one reply.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		"SET k v EX 10 NX GET", "SET k v PXAT 9223372036854775807", "EXPIRE k -9223372036854775808", "PEXPIREAT k 1 GT XX", "SCAN 1 MATCH [a-\\ COUNT 3 TYPE string",
		"HELLO 3 SETNAME x", "CLIENT SETINFO lib-name x", "COMMAND GETKEYS mget a b", "COMMAND INFO get x", "INFO keyspace", "INCRBY k -0", "MGET a b", "DEL a a", "RESET", "CLIENT", "HELLO 3 AUTH",
		"CLIENT LIST ID 1", "CLIENT TRACKING ON", "CONFIG GET max* m?xclients", "CONFIG SET timeout 1 maxclients 2", "COMMAND GETKEYSANDFLAGS SET a b GET", "COMMAND DOCS client|id",
		"CLUSTER GETKEYSINSLOT 1 2", "WATCH a b", "EXEC", "WAIT 1 0", "PUBSUB NUMSUB a", "COMMAND LIST FILTERBY PATTERN *", "OBJECT ENCODING k", "LCS a b IDX",
	} {
		f.Add([]byte(strings.ReplaceAll(seed, " ", "\x00")))
	}
	f.Fuzz(func(t *testing.T, joined []byte) {
		args := strings.Split(string(joined), "\x00")
		switch strings.ToLower(args[0]) {
		case "quit", "post", "host:", "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe", "multi":
			return // they end the connection, answer more than once, or change what ECHO answers
		case "client":
			if len(args) > 1 && (strings.EqualFold(args[1], "reply") || strings.EqualFold(args[1], "kill")) {
				return
			}
		}
		m := newMemory()
		s := New(Options{Store: m, Clock: m.clock})
		client, far := net.Pipe()
		defer client.Close()
		s.accept(far)
		defer s.Close()
		client.SetDeadline(time.Now().Add(5 * time.Second))
		go io.WriteString(client, encode("SET", "k", "1")+encode(args...)+encode("ECHO", "end"))
		in := bufio.NewReader(client)
		readReply(t, in)
		readReply(t, in)
		if got := readReply(t, in); got != bulk("end") {
			t.Fatalf("%q is followed by %q", args, got)
		}
	})
}

// A command that begins behind another one in the same read has its whole time.
func TestEachCommandOfAPipelineHasItsOwnTime(t *testing.T) {
	_, _, address := startServer(t, func(o *Options) { o.CommandTimeout = 300 * time.Millisecond })
	c := dial(t, address)
	command := encode("SET", "k", "v")
	for _, piece := range []string{command[:10], command[10:] + command[:10], command[10:] + command[:10], command[10:]} {
		io.WriteString(c, piece)
		<-time.After(120 * time.Millisecond)
	}
	in := bufio.NewReader(c)
	if got := readReply(t, in) + readReply(t, in) + readReply(t, in); got != "+OK\r\n+OK\r\n+OK\r\n" {
		t.Fatalf("%q", got)
	}
}
