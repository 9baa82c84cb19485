package sim

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// maxPipeBytes is what a connection holds on its way before writers wait, like the buffers of two sockets.
const maxPipeBytes = 1 << 20

// pipe is one direction of a connection. It has one reader at a time; its fields are guarded by Network.mu.
type pipe struct {
	net            *Network
	writer, reader *Port

	segments []segment
	bytes    int
	last     time.Time // when the last segment arrives
	twin     *pipe     // the other direction
	// off is set when one of the two hosts went off and the other was not told.
	off bool
	// gone is set when nobody reads any more. Writers are not told by an error: they learn it by the end
	// of the twin, because gRPC tries for ever at one instant on a connection that can be read and not written.
	gone error
	// ended is set when no more is written; broken when what is on its way is lost as well.
	ended  bool
	broken error

	readDeadline, writeDeadline time.Time
	readable, writable          chan struct{} // hold one signal each
}

type segment struct {
	data    []byte
	arrives time.Time
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // a signal is waiting already
	}
}

// delayLocked lets all that is on its way arrive after the usual delay from now.
func (p *pipe) delayLocked() {
	p.last = p.net.arrivalLocked()
	for i := range p.segments {
		if p.segments[i].arrives.Before(p.last) {
			p.segments[i].arrives = p.last
		}
	}
}

func (p *pipe) breakLocked(err error) {
	if p.broken == nil {
		p.broken = err
	}
	p.segments, p.bytes = nil, 0
	delete(p.net.pipes, p)
	wake(p.readable)
	wake(p.writable)
}

// leaveLocked ends reading; what is on its way is of no use to anybody.
func (p *pipe) leaveLocked(err error) {
	if p.gone == nil {
		p.gone = err
	}
	p.segments, p.bytes = nil, 0
	delete(p.net.pipes, p)
	wake(p.readable)
	wake(p.writable)
}

// resetLocked is the end of the writing process: a reset, which travels as everything else does.
func (p *pipe) resetLocked() {
	p.segments, p.bytes, p.ended = nil, 0, true
	p.segments = append(p.segments, segment{arrives: p.net.arrivalLocked()}) // without data: the reset
	wake(p.readable)
	wake(p.writable)
}

// read takes what has arrived, or says how long to wait: 0 means until a signal.
func (p *pipe) read(b []byte) (n int, wait time.Duration, err error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	now := time.Now()
	if p.broken != nil {
		return 0, 0, p.broken
	}
	if p.gone != nil {
		return 0, 0, p.gone
	}
	open := !p.net.clogged[direction{p.writer.host, p.reader.host}]
	for open && len(p.segments) > 0 && !p.segments[0].arrives.After(now) && n < len(b) {
		s := &p.segments[0]
		if s.data == nil {
			p.breakLocked(syscall.ECONNRESET)
			p.twin.breakLocked(syscall.ECONNRESET)
			return n, 0, p.broken
		}
		c := copy(b[n:], s.data)
		n, s.data, p.bytes = n+c, s.data[c:], p.bytes-c
		if len(s.data) == 0 {
			p.segments = p.segments[1:]
		}
	}
	if n > 0 {
		wake(p.writable)
		return n, 0, nil
	}
	if !p.readDeadline.IsZero() {
		if wait = p.readDeadline.Sub(now); wait <= 0 {
			return 0, 0, os.ErrDeadlineExceeded
		}
	}
	switch {
	case !open:
	case len(p.segments) > 0:
		arrives := p.segments[0].arrives.Sub(now)
		if wait == 0 || arrives < wait {
			wait = arrives
		}
	case p.ended && !p.off:
		delete(p.net.pipes, p)
		return 0, 0, io.EOF
	}
	return 0, wait, nil
}

// write puts b on its way, or says how long to wait: negative means until a signal, 0 that it is done.
func (p *pipe) write(b []byte) (wait time.Duration, err error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	switch {
	case p.broken != nil:
		return 0, p.broken
	case p.ended:
		return 0, io.ErrClosedPipe
	case p.off || p.gone != nil:
		return 0, nil // nobody reads it, and nobody says so
	}
	if p.bytes > maxPipeBytes {
		if p.writeDeadline.IsZero() {
			return -1, nil
		}
		if wait = time.Until(p.writeDeadline); wait <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		return wait, nil
	}
	if arrives := p.net.arrivalLocked(); arrives.After(p.last) {
		p.last = arrives // what is written later does not arrive earlier
	}
	p.segments = append(p.segments, segment{append([]byte(nil), b...), p.last})
	p.bytes += len(b)
	p.net.tellLocked(p.writer.host, p.reader.host, b)
	wake(p.readable)
	return 0, nil
}

// conn is one end of a connection.
type conn struct {
	in, out       *pipe
	local, remote net.Addr
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, wait, err := c.in.read(b)
		if n > 0 || err != nil {
			return n, err
		}
		await(c.in.readable, wait)
	}
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		wait, err := c.out.write(b)
		switch {
		case err != nil:
			return 0, err
		case wait == 0:
			return len(b), nil
		}
		await(c.out.writable, max(wait, 0))
	}
}

// await waits for a signal and, if limit is not 0, no longer than that.
func await(signal <-chan struct{}, limit time.Duration) {
	if limit == 0 {
		<-signal
		return
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-signal:
	case <-timer.C:
	}
}

// Close implements net.Conn: the other end reads what is on its way, then the end.
func (c *conn) Close() error {
	n := c.in.net
	n.mu.Lock()
	defer n.mu.Unlock()
	c.in.leaveLocked(net.ErrClosed)
	if c.out.broken == nil && !c.out.ended && !c.out.off {
		c.out.ended = true
		// The end travels, too: it is not seen before the link lets it pass.
		wake(c.out.readable)
		wake(c.out.writable)
	}
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.net.mu.Lock()
	defer c.in.net.mu.Unlock()
	c.in.readDeadline = t
	wake(c.in.readable)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.net.mu.Lock()
	defer c.out.net.mu.Unlock()
	c.out.writeDeadline = t
	wake(c.out.writable)
	return nil
}
