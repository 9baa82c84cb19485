package network

import (
	"net"
	"net/netip"
	"sync"
)

const (
	// maxConns bounds the connections of a port: a goroutine pair and some 50 KiB each.
	maxConns = 10_000
	// maxConnsPerSource keeps one source from taking them all, nodes' included. A client needs one
	// connection to a node, a node four; many clients may share an address.
	maxConnsPerSource = 1_000
)

// bounded is a listener that closes connections beyond the bounds at once.
type bounded struct {
	net.Listener

	// mu is a leaf.
	mu struct {
		sync.Mutex
		total   int
		sources map[netip.Addr]int
	}
}

// Bounded makes ln yield at most 10,000 connections that are open at once, and 1,000 of one Source.
func Bounded(ln net.Listener) net.Listener { return newBounded(ln) }

func newBounded(ln net.Listener) *bounded {
	b := &bounded{Listener: ln}
	b.mu.sources = make(map[netip.Addr]int)
	return b
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := Source(conn.RemoteAddr())
		if b.admit(source) {
			return &boundedConn{Conn: conn, release: sync.OnceFunc(func() { b.release(source) })}, nil
		}
		_ = conn.Close()
	}
}

func (b *bounded) admit(source netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.total >= maxConns || b.mu.sources[source] >= maxConnsPerSource {
		return false
	}
	b.mu.total++
	b.mu.sources[source]++
	return true
}

func (b *bounded) release(source netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.total--
	if b.mu.sources[source]--; b.mu.sources[source] == 0 {
		delete(b.mu.sources, source)
	}
}

// boundedConn gives its place back when it is closed.
type boundedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// CloseWrite lets servers say that no more comes while they still read.
func (c *boundedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
