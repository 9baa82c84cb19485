package rpc

import (
	"net"
	"sync"
)

const (
	// maxConns bounds the connections of the port: a goroutine pair and some 50 KiB each.
	maxConns = 10_000
	// maxConnsPerSource keeps one address from taking them all, nodes' included. A client needs one
	// connection to a node, a node four; many clients may share an address.
	maxConnsPerSource = 1_000
)

// bounded is a listener that closes connections beyond the bounds at once. Those within them that
// never call anything end at their age.
type bounded struct {
	net.Listener

	// mu is a leaf.
	mu struct {
		sync.Mutex
		total   int
		sources map[string]int
	}
}

func newBounded(ln net.Listener) *bounded {
	b := &bounded{Listener: ln}
	b.mu.sources = make(map[string]int)
	return b
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := conn.RemoteAddr().String()
		if host, _, err := net.SplitHostPort(source); err == nil {
			source = host
		}
		if b.admit(source) {
			return &boundedConn{Conn: conn, release: sync.OnceFunc(func() { b.release(source) })}, nil
		}
		_ = conn.Close()
	}
}

func (b *bounded) admit(source string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.total >= maxConns || b.mu.sources[source] >= maxConnsPerSource {
		return false
	}
	b.mu.total++
	b.mu.sources[source]++
	return true
}

func (b *bounded) release(source string) {
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
