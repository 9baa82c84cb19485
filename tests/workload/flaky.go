package workload

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
)

// Flaky makes connections that break at the worst moment: when the reply has arrived and the client has not
// seen it, or when a request, or the first part of it, was just sent. Safe for concurrent use.
type Flaky struct {
	// PerMille is the probability, in parts per thousand, that a write or a read breaks its
	// connection; 0 heals.
	PerMille atomic.Int32
	// Lost counts the replies that had arrived and were thrown away, Cuts the connections that were
	// closed right after a request was sent.
	Lost, Cuts atomic.Int64

	mu  sync.Mutex
	rng *rand.Rand
}

// NewFlaky makes a dialer whose faults follow from seed and from the order of the requests.
func NewFlaky(seed uint64) *Flaky {
	return &Flaky{rng: rand.New(rand.NewPCG(seed, 1))}
}

// Dial is a Dial.
func (f *Flaky) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := TCP(ctx, address)
	if err != nil {
		return nil, err
	}
	return &flakyConn{Conn: conn, f: f}, nil
}

func (f *Flaky) strikes() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.Int32N(1000) < f.PerMille.Load()
}

type flakyConn struct {
	net.Conn
	f *Flaky
}

func (c *flakyConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil && c.f.strikes() {
		c.f.Cuts.Add(1)
		// A close now would discard with a reset what the node has not read yet; a half close lets
		// it read the request and execute it. The client sees the end on its next read.
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			err = errors.Join(tcp.CloseRead(), tcp.CloseWrite())
		}
	}
	return n, err
}

func (c *flakyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.f.strikes() {
		c.f.Lost.Add(1)
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}
