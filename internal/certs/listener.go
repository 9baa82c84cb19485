package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/lightning-db/lightning/internal/network"
)

const (
	// handshakeTimeout is how long a client may take to shake hands.
	handshakeTimeout = 5 * time.Second
	// maxHandshakes bounds the connections that are shaking hands, each of which costs some 30 KiB;
	// maxHandshakesPerSource keeps one source from taking all of them.
	maxHandshakes          = 256
	maxHandshakesPerSource = maxHandshakes / 4
	// maxWaiting and maxWaitingPerSource bound those and the connections that wait to be next, each a
	// goroutine and a descriptor: many honest clients of one source may come at once. What is beyond
	// is closed, so that the connections of other sources behind it are met.
	maxWaiting          = 4096
	maxWaitingPerSource = maxWaiting / 4
)

// Listener yields connections whose handshake is over, so that nobody behind it waits for a client
// that sends nothing. Safe for concurrent use.
type Listener struct {
	inner  net.Listener
	config *tls.Config
	onFail func(remote net.Addr, err error)

	ready   chan net.Conn
	slots   chan struct{}
	stopped context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	// mu is a leaf.
	mu struct {
		sync.Mutex
		err     error // that Accept of inner ended with
		waiting int   // connections that have not been handed out
		sources map[netip.Addr]*share
	}
}

// share is what one source has of the handshakes.
type share struct {
	waiting int // guarded by Listener.mu
	slots   chan struct{}
}

// NewListener makes inner speak TLS. onFail, which may be nil, is told of handshakes that failed.
func NewListener(inner net.Listener, config *tls.Config, onFail func(remote net.Addr, err error)) *Listener {
	l := &Listener{
		inner: inner, config: config, onFail: onFail,
		ready: make(chan net.Conn), slots: make(chan struct{}, maxHandshakes),
	}
	l.mu.sources = make(map[netip.Addr]*share)
	l.stopped, l.stop = context.WithCancel(context.Background())
	l.running.Go(l.acceptLoop)
	return l
}

// acceptLoop ends when inner is closed. Errors that pass, as of a process without free descriptors,
// are waited out.
func (l *Listener) acceptLoop() {
	for {
		conn, err := l.inner.Accept()
		switch {
		case err == nil:
			l.take(conn)
		case errors.Is(err, net.ErrClosed):
			l.fail(err)
			return
		default:
			if !l.pause() {
				return
			}
		}
	}
}

// take starts the handshake of a connection, or closes it if its source has too many.
func (l *Listener) take(conn net.Conn) {
	source := network.Source(conn.RemoteAddr())
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.mu.sources[source]
	if s == nil {
		s = &share{slots: make(chan struct{}, maxHandshakesPerSource)}
	}
	if l.mu.waiting >= maxWaiting || s.waiting >= maxWaitingPerSource {
		_ = conn.Close()
		return
	}
	l.mu.sources[source] = s
	l.mu.waiting++
	s.waiting++
	l.running.Go(func() {
		l.shake(conn, s)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.mu.waiting--
		if s.waiting--; s.waiting == 0 {
			delete(l.mu.sources, source)
		}
	})
}

// acceptPause is long enough that a loop of errors costs nothing.
const acceptPause = 20 * time.Millisecond

// pause reports whether to go on.
func (l *Listener) pause() bool {
	timer := time.NewTimer(acceptPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.stopped.Done():
		return false
	}
}

func (l *Listener) fail(err error) {
	l.mu.Lock()
	l.mu.err = err
	l.mu.Unlock()
	l.stop()
}

// shake waits for its turn, shakes hands and hands the connection out, all but the last within
// handshakeTimeout.
// Its turn is over when somebody took the connection.
func (l *Listener) shake(raw net.Conn, s *share) {
	ctx, cancel := context.WithTimeout(l.stopped, handshakeTimeout)
	defer cancel()
	for _, slots := range []chan struct{}{s.slots, l.slots} {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			_ = raw.Close()
			return
		}
	}
	conn := tls.Server(raw, l.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if l.onFail != nil && l.stopped.Err() == nil {
			l.onFail(raw.RemoteAddr(), err)
		}
		return
	}
	select {
	case l.ready <- conn:
	case <-l.stopped.Done():
		_ = raw.Close()
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.ready:
		return conn, nil
	case <-l.stopped.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.mu.err != nil {
			return nil, l.mu.err
		}
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Handshakes on their way are broken off.
func (l *Listener) Close() error {
	l.stop()
	err := l.inner.Close()
	l.running.Wait()
	return err
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }
