package network

import (
	"net"
	"testing"
)

// conns is a listener that yields what a test puts in.
type conns chan net.Conn

func (c conns) Accept() (net.Conn, error) {
	conn, ok := <-c
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (c conns) Close() error   { close(c); return nil }
func (c conns) Addr() net.Addr { return &net.TCPAddr{} }

type fakeConn struct {
	net.Conn
	from   string
	closed bool
}

func (f *fakeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.from), Port: 1} }
func (f *fakeConn) Close() error         { f.closed = true; return nil }

func TestOneSourceDoesNotTakeAllConnections(t *testing.T) {
	in := make(conns, maxConnsPerSource+2)
	b := newBounded(in)
	var kept []net.Conn
	take := func(from string) bool {
		f := &fakeConn{from: from}
		in <- f
		in <- &fakeConn{from: "192.0.2.9"} // so that Accept returns if f is closed
		for {
			conn, err := b.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if conn.RemoteAddr().String() == "192.0.2.9:1" {
				_ = conn.Close()
				return !f.closed
			}
			kept = append(kept, conn)
		}
	}
	for i := range maxConnsPerSource {
		if !take("10.0.0.1") {
			t.Fatalf("connection %d is refused", i)
		}
	}
	if take("10.0.0.1") {
		t.Fatal("one too many is admitted")
	}
	if !take("10.0.0.2") {
		t.Fatal("another source is refused")
	}
	for _, conn := range kept {
		_ = conn.Close()
		_ = conn.Close() // gives back one place
	}
	if b.mu.total != 0 || len(b.mu.sources) != 0 {
		t.Fatal(b.mu.total, b.mu.sources)
	}
	if !take("10.0.0.1") {
		t.Fatal("there is room again, but not for this one")
	}
}

// TestAnIPv6CustomerIsOneSource: who has a /64 has more addresses than there are connections.
func TestAnIPv6CustomerIsOneSource(t *testing.T) {
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	if a, b := Source(at("2001:db8:1:2::1")), Source(at("2001:db8:1:2:3:4:5:6")); a != b {
		t.Error(a, b)
	}
	if a, b := Source(at("2001:db8:1:2::1")), Source(at("2001:db8:1:3::1")); a == b {
		t.Error(a, b)
	}
	if a, b := Source(at("::ffff:10.0.0.1")), Source(at("10.0.0.1")); a != b {
		t.Error(a, b)
	}
	if a, b := Source(at("10.0.0.1")), Source(at("10.0.0.2")); a == b {
		t.Error(a, b)
	}
}
