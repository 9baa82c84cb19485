package resp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/server"
)

// Store runs the operations; *server.Server implements it.
type Store interface {
	Data
	Keyspace
}

// Data reads and writes keys that are named.
type Data interface {
	Read(ctx context.Context, q server.Query) ([]api.Item, error)
	Apply(ctx context.Context, b api.Batch) (api.Result, error)
	ApplyEach(ctx context.Context, b api.Batch) ([]api.OpResult, error)
}

// Keyspace answers what is about all keys.
type Keyspace interface {
	Scan(ctx context.Context, r api.Range) iter.Seq2[api.Item, error]
	ScanCursor(ctx context.Context, ns api.Namespace, cursor uint64, count int, prefix []byte) (server.CursorPage, error)
	Count(ctx context.Context, ns api.Namespace) (uint64, error)
	Clear(ctx context.Context, ns api.Namespace) error
	RandomKey(ctx context.Context, ns api.Namespace) (key []byte, found bool, err error)
}

// Access decides who may use the server; *access.Passwords implements it.
type Access interface {
	// Required reports whether a client has to authenticate.
	Required() bool
	// Check fails with api.CodeUnauthorized if the password is not the user's. It may delay a
	// source that guesses.
	Check(ctx context.Context, user string, password []byte, source net.Addr) error
}

// Options are the settings of a Server. Store is required. Nothing in it changes while the
// server runs.
type Options struct {
	Store Store
	// Access decides who may use the server. Default: everyone.
	Access Access
	// Node and Version are shown by INFO.
	Node    api.NodeID
	Version string

	// MaxConns bounds the connections; one more is refused with Redis' error. Default 10,000, as
	// in Redis.
	MaxConns int
	// MaxLargeCommands bounds the commands of more than 64 KiB that are read or run at a time;
	// others wait in their sockets. Default 32: about 270 MiB of arguments.
	MaxLargeCommands int
	// IdleTimeout closes a connection that sends nothing for so long. Default 0, never, as in
	// Redis: a peer that is gone is found by TCP keepalive.
	IdleTimeout time.Duration
	// CommandTimeout is how long a client may take to send one command once it began, or to take
	// in a part of a reply. Default 30 s: the largest command at 280 kB/s.
	CommandTimeout time.Duration

	// Observe is told of every command: its name in lower case ("unknown" if there is none such),
	// the code of its error or empty, and the time it took. Default: nobody is told.
	Observe func(command string, code api.Code, took time.Duration)
	Clock   clock.Clock  // default: the machine's
	Logger  *slog.Logger // default: silence
}

func (o Options) withDefaults() Options {
	if o.MaxConns == 0 {
		o.MaxConns = 10_000
	}
	if o.MaxLargeCommands == 0 {
		o.MaxLargeCommands = 32
	}
	if o.CommandTimeout == 0 {
		o.CommandTimeout = 30 * time.Second
	}
	if o.Observe == nil {
		o.Observe = func(string, api.Code, time.Duration) {}
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Server serves the Redis protocol. Safe for concurrent use.
type Server struct {
	// Set by New, never written again.
	opts    Options
	started time.Time
	large   chan struct{} // a token for each large command
	ctx     context.Context
	cancel  context.CancelFunc

	lastID   atomic.Int64
	accepted atomic.Int64
	commands atomic.Int64
	closing  atomic.Bool
	conns    sync.WaitGroup

	// mu is a leaf.
	mu struct {
		sync.Mutex
		closed    bool
		listeners map[net.Listener]struct{}
		open      map[*conn]struct{}
	}
}

// New makes a Server. It starts no goroutine.
func New(o Options) *Server {
	o = o.withDefaults()
	s := &Server{opts: o, started: o.Clock.Now(), large: make(chan struct{}, o.MaxLargeCommands)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.listeners = make(map[net.Listener]struct{})
	s.mu.open = make(map[*conn]struct{})
	return s
}

// Serve accepts connections until Close, then returns nil. It closes the listener.
func (s *Server) Serve(ln net.Listener) error {
	if !s.addListener(ln) {
		return errors.Join(errors.New("serve RESP: the server is closed"), ln.Close())
	}
	defer s.removeListener(ln)
	backoff := time.Duration(0)
	for {
		netConn, err := ln.Accept()
		if err != nil {
			if s.closing.Load() {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("serve RESP: %w", err)
			}
			// Out of file descriptors, most likely: connections that end make room.
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			s.opts.Logger.Warn("cannot accept a connection; trying again", "error", err, "wait", backoff)
			if !s.wait(backoff) {
				return nil
			}
			continue
		}
		backoff = 0
		s.accept(netConn)
	}
}

func (s *Server) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.closed {
		s.mu.listeners[ln] = struct{}{}
	}
	return !s.mu.closed
}

func (s *Server) removeListener(ln net.Listener) {
	_ = ln.Close() // closed already if Close came first
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.listeners, ln)
}

// accept starts a connection's goroutine, or refuses the connection.
func (s *Server) accept(netConn net.Conn) {
	s.accepted.Add(1)
	c := newConn(s, netConn)
	s.mu.Lock()
	refused, full := s.mu.closed, len(s.mu.open) >= s.opts.MaxConns
	if !refused && !full {
		s.mu.open[c] = struct{}{}
		s.conns.Add(1)
	}
	s.mu.Unlock()
	switch {
	case refused:
		_ = netConn.Close()
	case full:
		c.refuse(replyError("ERR max number of clients reached"))
	default:
		go c.serveConn()
	}
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.mu.open, c)
	s.mu.Unlock()
	s.conns.Done()
}

func (s *Server) connCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.open)
}

// closeGrace is how long commands that run may take to end once Close is called. It is longer
// than what server.Server grants them, so that they end with its answer.
const closeGrace = 3 * time.Second

// Close stops accepting, lets the commands that run end with their replies, closes all
// connections and waits for them.
func (s *Server) Close() error {
	s.closing.Store(true)
	s.mu.Lock()
	s.mu.closed = true
	for ln := range s.mu.listeners {
		_ = ln.Close()
	}
	for c := range s.mu.open {
		c.kick()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.conns.Wait()
		close(done)
	}()
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.cancel()
		s.cutAll()
		<-done
	}
	s.cancel()
	return nil
}

// cutAll closes the sockets of clients that do not take their replies in.
func (s *Server) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.open {
		_ = c.net.Close()
	}
}
