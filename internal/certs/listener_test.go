package certs

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
)

func listen(t *testing.T, s *Store, onFail func(net.Addr, error)) *Listener {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(inner, s.ServerConfig(), onFail)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestASilentClientIsNoConnectionAndHoldsNobodyUp(t *testing.T) {
	ca := authority(t)
	s, _ := store(t, issue(t, ca, "blue", Node), ca)
	failed := make(chan error, 1)
	l := listen(t, s, func(_ net.Addr, err error) { failed <- err })
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool(t, ca), ServerName: "db.example", Time: times.Now})
		if err == nil {
			_, err = io.WriteString(c, "hello")
			c.Close()
		}
		failed <- err
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := make([]byte, 5)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	plain, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := io.WriteString(plain, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Fatal("a client without TLS shook hands")
	}
}

func TestCloseEndsAcceptAndHandshakes(t *testing.T) {
	ca := authority(t)
	s, _ := store(t, issue(t, ca, "blue", Node), ca)
	l := listen(t, s, nil)
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; err == nil {
		t.Fatal("Accept of a closed listener succeeds")
	}
}

// pipes is a listener that yields one end of a pipe.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return nil }

func TestAHandshakeThatTakesTooLongIsBrokenOff(t *testing.T) {
	ca := authority(t)
	s, _ := store(t, issue(t, ca, "blue", Node), ca)
	synctest.Test(t, func(t *testing.T) {
		inner := pipes{make(chan net.Conn, 1), make(chan struct{})}
		l := NewListener(inner, s.ServerConfig(), nil)
		server, client := net.Pipe()
		inner.conns <- server
		if n, err := client.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes from a server that was told nothing", n)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOneSourceDoesNotKeepOthersFromShakingHands: whoever opens connections and says nothing holds only
// a share of the handshakes, however many he opens.
func TestOneSourceDoesNotKeepOthersFromShakingHands(t *testing.T) {
	ca := authority(t)
	s, _ := store(t, issue(t, ca, "blue", Node), ca)
	l := listen(t, s, nil)
	for range 2 * maxHandshakes {
		silent, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}()
	began := time.Now()
	elsewhere := tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}},
		Config:    &tls.Config{RootCAs: pool(t, ca), ServerName: "db.example", Time: times.Now},
	}
	c, err := elsewhere.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if took := time.Since(began); took > handshakeTimeout/2 {
		t.Errorf("the handshake took %v", took)
	}
}

// TestManyClientsOfOneSourceGetIn: a share is a queue and not a wall.
func TestManyClientsOfOneSourceGetIn(t *testing.T) {
	ca := authority(t)
	s, _ := store(t, issue(t, ca, "blue", Node), ca)
	l := listen(t, s, nil)
	const clients = 3 * maxHandshakesPerSource
	errs := make(chan error, clients)
	for range clients {
		go func() {
			c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool(t, ca), ServerName: "db.example", Time: times.Now})
			if err == nil {
				defer c.Close()
			}
			errs <- err
		}()
	}
	for range clients {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	// A place is given back a moment after its connection is.
	testkit.Eventually(t, 20*time.Second, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.mu.waiting == 0 && len(l.mu.sources) == 0
	}, "places of clients that are in are still taken")
}
