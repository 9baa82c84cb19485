package raft

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/test/bufconn"

	"github.com/lightning-db/lightning/api"
)

// fakeNet is a network in memory whose addresses are node ids. A cut between two nodes
// swallows what they write to each other, as a network without a route does; when it heals,
// the connections that lost bytes break.
type fakeNet struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	cuts      map[[2]string]bool // from, to
	conns     map[*fakeConn]struct{}
}

func newFakeNet() *fakeNet {
	return &fakeNet{
		listeners: make(map[string]*bufconn.Listener), cuts: make(map[[2]string]bool), conns: make(map[*fakeConn]struct{}),
	}
}

var errNoRoute = errors.New("no route")

// at is the network as one node sees it. It implements network.Network and peers.Resolver.
type fakeNetAt struct {
	net  *fakeNet
	node string
}

func (n *fakeNet) at(node string) fakeNetAt { return fakeNetAt{n, node} }

func (a fakeNetAt) Address(node api.NodeID) (string, bool) { return string(node), true }

func (a fakeNetAt) Listen(_ context.Context, address string) (net.Listener, error) {
	l := bufconn.Listen(1 << 20)
	a.net.mu.Lock()
	defer a.net.mu.Unlock()
	a.net.listeners[address] = l
	return l, nil
}

func (a fakeNetAt) Dial(ctx context.Context, address string) (net.Conn, error) {
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
	f := &fakeConn{Conn: c, net: a.net, from: a.node, to: address}
	a.net.mu.Lock()
	defer a.net.mu.Unlock()
	a.net.conns[f] = struct{}{}
	return f, nil
}

// cut stops everything between a and b, both ways.
func (n *fakeNet) cut(a, b string) { n.set(a, b, true) }

// heal undoes cut.
func (n *fakeNet) heal(a, b string) { n.set(a, b, false) }

func (n *fakeNet) set(a, b string, cut bool) {
	n.mu.Lock()
	n.cuts[[2]string{a, b}], n.cuts[[2]string{b, a}] = cut, cut
	var broken []*fakeConn
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

func (n *fakeNet) isCut(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[[2]string{from, to}]
}

// fakeConn is the dialing end of a connection.
type fakeConn struct {
	net.Conn
	net      *fakeNet
	from, to string
	lossy    atomic.Bool
}

func (c *fakeConn) Write(p []byte) (int, error) {
	if c.net.isCut(c.from, c.to) {
		c.lossy.Store(true)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *fakeConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.net.isCut(c.to, c.from) {
			return n, err
		}
		c.lossy.Store(true) // swallowed
	}
}

func (c *fakeConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}
