package fakenet

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/test/bufconn"

	"github.com/lightning-db/lightning/api"
)

// Net is a network in memory whose addresses are node ids. A cut between two nodes
// swallows what they write to each other, as a network without a route does; when it heals,
// the connections that lost bytes break.
type Net struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	cuts      map[[2]string]bool // from, to
	conns     map[*conn]struct{}
}

// New makes a network without listeners.
func New() *Net {
	return &Net{
		listeners: make(map[string]*bufconn.Listener), cuts: make(map[[2]string]bool), conns: make(map[*conn]struct{}),
	}
}

var errNoRoute = errors.New("no route")

// At is the network as one node sees it. It implements network.Network and peers.Resolver.
type At struct {
	net  *Net
	node string
}

// At is the network as node sees it.
func (n *Net) At(node string) At { return At{n, node} }

// Address implements peers.Resolver.
func (a At) Address(node api.NodeID) (string, bool) { return string(node), true }

// Listen implements network.Network.
func (a At) Listen(_ context.Context, address string) (net.Listener, error) {
	l := bufconn.Listen(1 << 20)
	a.net.mu.Lock()
	defer a.net.mu.Unlock()
	a.net.listeners[address] = l
	return l, nil
}

// Dial implements network.Network.
func (a At) Dial(ctx context.Context, address string) (net.Conn, error) {
	a.net.mu.Lock()
	l := a.net.listeners[address]
	cut := a.net.cuts[[2]string{a.node, address}] || a.net.cuts[[2]string{address, a.node}]
	a.net.mu.Unlock()
	if l == nil || cut {
		return nil, errNoRoute
	}
	c, err := l.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	f := &conn{Conn: c, net: a.net, from: a.node, to: address}
	a.net.mu.Lock()
	defer a.net.mu.Unlock()
	a.net.conns[f] = struct{}{}
	return f, nil
}

// Cut stops everything between a and b, both ways.
func (n *Net) Cut(a, b string) { n.set(a, b, true) }

// Heal undoes Cut.
func (n *Net) Heal(a, b string) { n.set(a, b, false) }

func (n *Net) set(a, b string, cut bool) {
	n.mu.Lock()
	n.cuts[[2]string{a, b}], n.cuts[[2]string{b, a}] = cut, cut
	var broken []*conn
	for c := range n.conns {
		if !cut && c.lossy.Load() {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

func (n *Net) isCut(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[[2]string{from, to}]
}

// conn is the dialing end of a connection.
type conn struct {
	net.Conn
	net      *Net
	from, to string
	lossy    atomic.Bool
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if c.net.isCut(c.from, c.to) {
		c.lossy.Store(true)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.net.isCut(c.to, c.from) {
			return n, err
		}
		c.lossy.Store(true) // swallowed
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}
