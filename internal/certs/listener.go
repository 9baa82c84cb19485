package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// handshakeTimeout is how long a client may take to shake hands.
	handshakeTimeout = 5 * time.Second
	// maxHandshakes bounds the connections that are shaking hands; others wait in the backlog of
	// the port. Each costs a goroutine and some 30 KiB.
	maxHandshakes = 256
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
		err error // that Accept of inner ended with
	}
}

// NewListener makes inner speak TLS. onFail, which may be nil, is told of handshakes that failed.
func NewListener(inner net.Listener, config *tls.Config, onFail func(remote net.Addr, err error)) *Listener {
	l := &Listener{
		inner: inner, config: config, onFail: onFail,
		ready: make(chan net.Conn), slots: make(chan struct{}, maxHandshakes),
	}
	l.stopped, l.stop = context.WithCancel(context.Background())
	l.running.Go(l.acceptLoop)
	return l
}

// acceptLoop ends when inner is closed. Errors that pass, as of a process without free descriptors,
// are waited out.
func (l *Listener) acceptLoop() {
	for {
		select {
		case l.slots <- struct{}{}:
		case <-l.stopped.Done():
			return
		}
		conn, err := l.inner.Accept()
		if err == nil {
			l.running.Go(func() { l.shake(conn) })
			continue
		}
		<-l.slots
		if errors.Is(err, net.ErrClosed) {
			l.fail(err)
			return
		}
		l.pause()
	}
}

// acceptPause is long enough that a loop of errors costs nothing.
const acceptPause = 20 * time.Millisecond

func (l *Listener) pause() {
	timer := time.NewTimer(acceptPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.stopped.Done():
	}
}

func (l *Listener) fail(err error) {
	l.mu.Lock()
	l.mu.err = err
	l.mu.Unlock()
	l.stop()
}

// shake shakes hands and hands the connection out. Its slot is free again when somebody took it.
func (l *Listener) shake(raw net.Conn) {
	defer func() { <-l.slots }()
	ctx, cancel := context.WithTimeout(l.stopped, handshakeTimeout)
	defer cancel()
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
