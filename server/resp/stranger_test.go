package resp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
)

// onePassword is an Access with one password, which may be changed to be required or not.
type onePassword struct {
	password string
	mu       sync.Mutex
	sources  []string // of every Check
}

func (p *onePassword) Required() bool { return p.password != "" }

func (p *onePassword) Check(_ context.Context, user string, password []byte, source net.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sources = append(p.sources, source.String())
	if user != "default" || string(password) != p.password {
		return api.Errorf(api.CodeUnauthorized, "no")
	}
	return nil
}

func locked(change func(*Options)) func(*Options) {
	return func(o *Options) {
		o.Access = &onePassword{password: "pw"}
		if change != nil {
			change(o)
		}
	}
}

const (
	noAuth    = "-NOAUTH Authentication required.\r\n"
	wrongPass = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
)

// The replies are those of a redis-server with requirepass.
func TestAStrangerMayOnlyAuthenticate(t *testing.T) {
	_, _, address := startServer(t, locked(nil))
	hello := "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> " +
		"option can be used to authenticate the client and select the RESP protocol version at the same time\r\n"
	c := dial(t, address)
	in := bufio.NewReader(c)
	for _, step := range []struct{ command, want string }{
		{"PING", noAuth}, {"GET a", noAuth}, {"COMMAND", noAuth}, {"MULTI", noAuth}, {"SUBSCRIBE a", noAuth}, {"CLIENT REPLY OFF", noAuth},
		{"FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n"},
		{"GET", "-ERR wrong number of arguments for 'get' command\r\n"},
		{"EXEC", "-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n"},
		{"HELLO", hello}, {"HELLO 3", hello}, {"HELLO 3 SETNAME x", hello},
		{"HELLO 4", "-NOPROTO unsupported protocol version\r\n"},
		{"HELLO 3 AUTH default no", wrongPass}, {"HELLO 3 AUTH no pw", wrongPass}, {"HELLO 3 AUTH default no FOO", wrongPass},
		{"AUTH x", wrongPass}, {"AUTH x y", wrongPass}, {"AUTH default pw x", "-ERR syntax error\r\n"},
		{"RESET", "+RESET\r\n"},
		{"AUTH pw", "+OK\r\n"}, {"GET a", "$-1\r\n"},
		{"AUTH no", wrongPass}, {"GET a", "$-1\r\n"},
		{"RESET", "+RESET\r\n"}, {"GET a", noAuth},
		{"AUTH default pw", "+OK\r\n"}, {"PING", "+PONG\r\n"},
	} {
		if got := do(t, c, in, strings.Fields(step.command)...); got != step.want {
			t.Errorf("%s: %q, want %q", step.command, got, step.want)
		}
	}
	other := dial(t, address)
	if got := do(t, other, bufio.NewReader(other), "HELLO", "3", "AUTH", "default", "pw", "SETNAME", "me"); !strings.HasPrefix(got, "%7\r\n") {
		t.Error(got)
	}
}

// U6: every command but the four of the connect path is refused before the client authenticates.
func TestNoCommandRunsForAStranger(t *testing.T) {
	_, m, address := startServer(t, locked(nil))
	m.before = func(context.Context) { t.Error("the store was asked") }
	c := dial(t, address)
	in := bufio.NewReader(c)
	open := map[string]bool{"auth": true, "hello": true, "quit": true, "reset": true, "exec": true}
	for name, cmd := range byName {
		if open[name] || len(cmd.subs) > 0 && cmd.run == nil {
			continue
		}
		args := strings.Split(name, "|")
		for !cmd.accepts(len(args)) {
			args = append(args, "1")
		}
		if got := do(t, c, in, args...); got != noAuth {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestAWrongPasswordIsObservedAndItsSourceTold(t *testing.T) {
	access := &onePassword{password: "pw"}
	codes := make(chan api.Code, 10)
	_, _, address := startServer(t, func(o *Options) {
		o.Access = access
		o.Observe = func(_ string, code api.Code, _ time.Duration) { codes <- code }
	})
	c := dial(t, address)
	in := bufio.NewReader(c)
	do(t, c, in, "AUTH", "no")
	do(t, c, in, "PING")
	do(t, c, in, "AUTH", "pw")
	if a, b, ok := <-codes, <-codes, <-codes; a != api.CodeUnauthorized || b != api.CodeUnauthorized || ok != "" {
		t.Error(a, b, ok)
	}
	access.mu.Lock()
	defer access.mu.Unlock()
	if len(access.sources) != 2 || access.sources[0] != c.LocalAddr().String() {
		t.Error(access.sources)
	}
}

func TestAStrangersRequestsAreSmall(t *testing.T) {
	_, _, address := startServer(t, locked(nil))
	for name, c := range map[string]struct{ send, want string }{
		"arguments":     {"*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"},
		"one long":      {"*2\r\n$4\r\nAUTH\r\n$4096\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"},
		"several":       {"*3\r\n$4\r\nAUTH\r\n$2000\r\n" + strings.Repeat("x", 2000) + "\r\n$2100\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"},
		"a long line":   {"AUTH " + strings.Repeat("x", 5000) + "\r\n", "-ERR Protocol error: too big inline request\r\n"},
		"an HTTP start": {"POST / HTTP/1.1\r\n", "-ERR unknown command 'POST', with args beginning with: '/' 'HTTP/1.1' \r\n"},
	} {
		conn := dial(t, address)
		io.WriteString(conn, c.send)
		if got, err := io.ReadAll(conn); err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	conn := dial(t, address)
	in := bufio.NewReader(conn)
	do(t, conn, in, "AUTH", "pw")
	if got := do(t, conn, in, append([]string{"MGET"}, make([]string, 20)...)...); !strings.HasPrefix(got, "-ERR a key") {
		t.Errorf("the limits hold after AUTH: %q", got)
	}
}

func TestStrangersAreFew(t *testing.T) {
	s, _, address := startServer(t, locked(func(o *Options) { o.MaxStrangers = 2 }))
	first, second := dial(t, address), dial(t, address)
	in := bufio.NewReader(first)
	do(t, first, in, "PING")
	do(t, second, bufio.NewReader(second), "PING")
	refused, err := io.ReadAll(dial(t, address))
	if err != nil || string(refused) != "-ERR max number of clients reached\r\n" {
		t.Fatalf("%q, %v", refused, err)
	}
	do(t, first, in, "AUTH", "pw")
	third := dial(t, address)
	if got := do(t, third, bufio.NewReader(third), "PING"); got != noAuth {
		t.Fatalf("who authenticated still counts: %q", got)
	}
	do(t, first, in, "RESET") // a stranger again, though there is no room
	if got := do(t, first, in, "PING"); got != noAuth {
		t.Fatal(got)
	}
	for _, c := range []net.Conn{first, second, third} {
		c.Close()
	}
	for s.connCount() > 0 {
		select {
		case <-t.Context().Done():
			t.Fatal("the connections stay")
		case <-time.After(time.Millisecond):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.mu.strangers); n != 0 {
		t.Errorf("%d strangers are left", n)
	}
}

func TestAStrangerIsClosedWhoDoesNotHurry(t *testing.T) {
	_, _, address := startServer(t, locked(func(o *Options) { o.StrangerTimeout = 60 * time.Millisecond }))
	for _, begun := range []string{"", "*2\r\n$4\r\nAUTH\r\n$2\r\np", encode("PING")} {
		c := dial(t, address)
		io.WriteString(c, begun)
		if _, err := io.ReadAll(c); err != nil {
			t.Fatalf("%q: %v", begun, err)
		}
	}
	c := dial(t, address)
	in := bufio.NewReader(c)
	for range 8 { // each has a time of its own
		do(t, c, in, "PING")
		<-time.After(10 * time.Millisecond)
	}
	do(t, c, in, "AUTH", "pw")
	ended := make(chan error, 1)
	go func() { _, err := in.ReadByte(); ended <- err }()
	select {
	case err := <-ended:
		t.Fatalf("closed after AUTH: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	c.Close()
	<-ended
}

func TestConnectionsOfOneSourceAreBounded(t *testing.T) {
	_, _, address := startServer(t, func(o *Options) { o.MaxConnsPerSource = 1 })
	first := dial(t, address)
	do(t, first, bufio.NewReader(first), "PING")
	if refused, err := io.ReadAll(dial(t, address)); err != nil || string(refused) != "-ERR max number of clients reached\r\n" {
		t.Fatalf("%q, %v", refused, err)
	}
}

// secure is a connection whose handshake never ends by itself.
type secure struct {
	net.Conn
	limit chan time.Duration
}

func (s secure) HandshakeContext(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return errors.New("no deadline")
	}
	s.limit <- deadline.Sub(now())
	return errors.New("not a client of TLS")
}

func TestAHandshakeHasALimit(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	client, far := net.Pipe()
	defer client.Close()
	limit := make(chan time.Duration, 1)
	s.accept(secure{far, limit})
	if d := <-limit; d <= 0 || d > handshakeTimeout {
		t.Errorf("the handshake may take %v", d)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on without a handshake")
	}
}

// What a stranger is answered in one go is small, so that who reads nothing costs little.
func TestAStrangersRepliesAreNotHeld(t *testing.T) {
	s := New(Options{Access: &onePassword{password: "pw"}})
	defer s.Close()
	client, far := net.Pipe()
	defer client.Close()
	s.accept(far)
	go func() {
		for range 2000 {
			if _, err := io.WriteString(client, encode("FOO", strings.Repeat("x", 100))); err != nil {
				return
			}
		}
	}()
	// A write to a pipe is as large as what is sent at once.
	n, err := client.Read(make([]byte, 1<<20))
	if err != nil || n > maxStrangerReplyBytes+1024 {
		t.Errorf("%d bytes at once, %v", n, err)
	}
}

// TestOneSourceOfStrangersDoesNotLockOutOthers: who takes every place of strangers from one address
// loses one of them to who comes from elsewhere, and not the other way round.
func TestOneSourceOfStrangersDoesNotLockOutOthers(t *testing.T) {
	s, _, address := startServer(t, locked(func(o *Options) { o.MaxStrangers = 4 }))
	var crowd []net.Conn
	for range 4 {
		c := dial(t, address)
		do(t, c, bufio.NewReader(c), "PING")
		crowd = append(crowd, c)
	}
	elsewhere := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	honest, err := elsewhere.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer honest.Close()
	in := bufio.NewReader(honest)
	if got := do(t, honest, in, "AUTH", "pw"); got != "+OK\r\n" {
		t.Fatalf("%q", got)
	}
	if rest, err := io.ReadAll(crowd[0]); err != nil || string(rest) != "" {
		t.Fatalf("the oldest of the crowd is not cut: %q, %v", rest, err)
	}
	do(t, crowd[1], bufio.NewReader(crowd[1]), "PING") // only one had to go
	again := dial(t, address)
	do(t, again, bufio.NewReader(again), "PING") // the place of the one that authenticated is free
	if refused, err := io.ReadAll(dial(t, address)); err != nil || !strings.HasPrefix(string(refused), "-ERR max number") {
		t.Fatalf("the crowd took a place of its own: %q, %v", refused, err)
	}
	if got := s.connCount(); got != 5 {
		t.Errorf("%d connections are open", got)
	}
}
