package lightningtest

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/lightning-db/lightning/internal/network"
)

var errCut = errors.New("the network of this node is cut")

// cable is a node's network. Cut breaks everything on it and refuses what is new, as the end of
// a process does. Safe for concurrent use.
type cable struct {
	network.TCP

	// mu is a leaf.
	mu struct {
		sync.Mutex
		isCut bool
		open  map[interface{ Close() error }]struct{}
	}
}

func newCable() *cable {
	c := &cable{}
	c.mu.open = make(map[interface{ Close() error }]struct{})
	return c
}

// Listen implements network.Network.
func (c *cable) Listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := c.TCP.Listen(ctx, address)
	if err != nil {
		return nil, err
	}
	plugged := &pluggedListener{Listener: l, cable: c}
	return plugged, c.plug(plugged)
}

// Dial implements network.Network.
func (c *cable) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := c.TCP.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return c.plugConn(conn)
}

func (c *cable) plugConn(conn net.Conn) (net.Conn, error) {
	plugged := &pluggedConn{Conn: conn, cable: c}
	if err := c.plug(plugged); err != nil {
		return nil, err
	}
	return plugged, nil
}

// plug closes what comes after the cut.
func (c *cable) plug(end interface{ Close() error }) error {
	c.mu.Lock()
	isCut := c.mu.isCut
	if !isCut {
		c.mu.open[end] = struct{}{}
	}
	c.mu.Unlock()
	if isCut {
		return errors.Join(errCut, end.Close())
	}
	return nil
}

func (c *cable) unplug(end interface{ Close() error }) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.open, end)
}

func (c *cable) cut() {
	c.mu.Lock()
	open := c.mu.open
	c.mu.open, c.mu.isCut = nil, true
	c.mu.Unlock()
	for end := range open {
		_ = end.Close() // what is closed twice was closed
	}
}

type pluggedListener struct {
	net.Listener
	cable *cable
}

// Accept implements net.Listener.
func (l *pluggedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.cable.plugConn(conn)
}

// Close implements net.Listener.
func (l *pluggedListener) Close() error {
	l.cable.unplug(l)
	return l.Listener.Close()
}

type pluggedConn struct {
	net.Conn
	cable *cable
}

// Close implements net.Conn.
func (c *pluggedConn) Close() error {
	c.cable.unplug(c)
	return c.Conn.Close()
}
