package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// Network is the wires between nodes: every ordered pair of hosts has a link with a delay of its own
// that may be clogged. What is written to a clogged link is not lost but late, as TCP has it, which
// sends again what was not acknowledged. Safe for concurrent use.
type Network struct {
	mu        sync.Mutex
	rng       *rand.Rand
	delay     time.Duration // one way
	jitter    time.Duration
	listeners map[string]*listener
	clogged   map[direction]bool
	pipes     map[*pipe]struct{}
	// opened is closed and replaced when a link opens, for dials that wait for it.
	opened chan struct{}
	// Counts for the report.
	dials, resets int
	// trace is a hash of everything that was sent: by whom, to whom, when, and what.
	trace uint64
}

// tellLocked takes a message into the trace.
func (n *Network) tellLocked(from, to string, b []byte) {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, n.trace, time.Now().UnixNano(), from, to, len(b))
	_, _ = h.Write(b)
	n.trace = h.Sum64()
}

// Trace is equal for two histories only if all nodes sent the same, at the same times.
func (n *Network) Trace() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.trace
}

// direction is one way between two hosts.
type direction struct{ from, to string }

// NewNetwork makes a network in which everything is connected.
func NewNetwork(seed uint64, delay, jitter time.Duration) *Network {
	return &Network{
		rng: rand.New(rand.NewPCG(seed, 1)), delay: delay, jitter: jitter,
		listeners: map[string]*listener{}, clogged: map[direction]bool{}, pipes: map[*pipe]struct{}{},
		opened: make(chan struct{}),
	}
}

// Port is the network as one host sees it, until it is unplugged. It implements network.Network.
type Port struct {
	net  *Network
	host string
	gone chan struct{}
	once sync.Once
}

// Plug connects a host. Connections of its former life whose other ends have not been told are reset.
func (n *Network) Plug(host string) *Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.pipes {
		if p.off && (p.writer.host == host || p.reader.host == host) {
			p.breakLocked(syscall.ECONNRESET)
			p.twin.breakLocked(syscall.ECONNRESET)
		}
	}
	return &Port{net: n, host: host, gone: make(chan struct{})}
}

// Unplug ends everything that the port has open. Silently, the others are told nothing, as when
// the machine loses its power; otherwise their connections are reset, as when a process dies.
func (p *Port) Unplug(silently bool) {
	p.once.Do(func() { close(p.gone) })
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for address, l := range n.listeners {
		if l.port == p {
			delete(n.listeners, address)
			l.end()
		}
	}
	for pipe := range n.pipes {
		switch {
		case pipe.reader != p && pipe.writer != p:
		case silently:
			pipe.off = true
			if pipe.reader == p {
				pipe.leaveLocked(errUnplugged)
			}
			wake(pipe.readable)
			wake(pipe.writable)
		case pipe.reader == p:
			pipe.leaveLocked(errUnplugged)
		default:
			pipe.resetLocked()
		}
	}
}

var errUnplugged = errors.New("this host is off")

func (p *Port) unplugged() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// Listen implements network.Network.
func (p *Port) Listen(_ context.Context, address string) (net.Listener, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.unplugged() {
		return nil, errUnplugged
	}
	if _, taken := p.net.listeners[address]; taken {
		return nil, fmt.Errorf("listen on %s: %w", address, syscall.EADDRINUSE)
	}
	l := &listener{port: p, address: address, accepts: make(chan net.Conn, 64), ended: make(chan struct{})}
	p.net.listeners[address] = l
	return l, nil
}

// Dial implements network.Network. It waits while a link between the two hosts is clogged.
func (p *Port) Dial(ctx context.Context, address string) (net.Conn, error) {
	for {
		conn, wait, err := p.tryDial(address)
		if wait == nil {
			return conn, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.gone:
			return nil, errUnplugged
		}
	}
}

func (p *Port) tryDial(address string) (net.Conn, <-chan struct{}, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.unplugged() {
		return nil, nil, errUnplugged
	}
	if n.clogged[direction{p.host, host}] || n.clogged[direction{host, p.host}] {
		return nil, n.opened, nil
	}
	l := n.listeners[address]
	if l == nil {
		return nil, nil, fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
	}
	there, back := n.newPipeLocked(p, l.port), n.newPipeLocked(l.port, p)
	there.twin, back.twin = back, there
	ours := &conn{in: back, out: there, local: tcpAddress(p.host), remote: tcpAddress(host)}
	theirs := &conn{in: there, out: back, local: tcpAddress(host), remote: tcpAddress(p.host)}
	select {
	case l.accepts <- theirs:
		n.dials++
		return ours, nil, nil
	default:
		delete(n.pipes, there)
		delete(n.pipes, back)
		return nil, nil, fmt.Errorf("dial %s: the backlog is full: %w", address, syscall.ECONNREFUSED)
	}
}

func tcpAddress(host string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(host), Port: 1} }

func (n *Network) newPipeLocked(from, to *Port) *pipe {
	p := &pipe{net: n, writer: from, reader: to, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
	n.pipes[p] = struct{}{}
	return p
}

// Clog stops the way from one host to another.
func (n *Network) Clog(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clogged[direction{from, to}] = true
}

// Release lets what waits on the way arrive, after the usual delay.
func (n *Network) Release(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.releaseLocked(direction{from, to})
}

func (n *Network) releaseLocked(d direction) {
	if !n.clogged[d] {
		return
	}
	delete(n.clogged, d)
	close(n.opened)
	n.opened = make(chan struct{})
	for p := range n.pipes {
		if p.writer.host == d.from && p.reader.host == d.to {
			p.delayLocked()
			wake(p.readable)
		}
	}
}

// Heal releases every link.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for d := range n.clogged {
		n.releaseLocked(d)
	}
}

// Reset breaks all connections between two hosts.
func (n *Network) Reset(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.pipes {
		if p.writer.host == a && p.reader.host == b || p.writer.host == b && p.reader.host == a {
			p.breakLocked(syscall.ECONNRESET)
			p.twin.breakLocked(syscall.ECONNRESET)
			n.resets++
		}
	}
}

// SetDelay changes how long a message takes from now on.
func (n *Network) SetDelay(delay, jitter time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay, n.jitter = delay, jitter
}

func (n *Network) arrivalLocked() time.Time {
	d := n.delay
	if n.jitter > 0 {
		d += time.Duration(n.rng.Int64N(int64(n.jitter)))
	}
	return time.Now().Add(d)
}

// listener implements net.Listener.
type listener struct {
	port    *Port
	address string
	accepts chan net.Conn
	ended   chan struct{}
	once    sync.Once
}

func (l *listener) end() { l.once.Do(func() { close(l.ended) }) }

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepts:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	n := l.port.net
	n.mu.Lock()
	if n.listeners[l.address] == l {
		delete(n.listeners, l.address)
	}
	n.mu.Unlock()
	l.end()
	for { // connections that nobody took
		select {
		case c := <-l.accepts:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return tcpAddress(l.port.host) }
