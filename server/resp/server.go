package resp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/server"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// Store runs the operations; *server.Server implements it.
type Store interface {
	Data
	Keyspace
}

// Data reads and writes keys that are named.
type Data interface {
	// Run runs what one connection has sent at once.
	Run(ctx context.Context, t *server.Turn)
	Read(ctx context.Context, q server.Query) ([]api.Item, error)
	Apply(ctx context.Context, b api.Batch) (api.Result, error)
	// OpenStored opens a range of a value that Run has named and not brought.
	OpenStored(ctx context.Context, stored *api.Stored, start, end uint64) (server.Pieces, error)
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

	// Topology says where the shards are. Required with Cluster; without it WAIT knows of no
	// replicas.
	Topology Topology
	// Cluster makes this the listener for clients that know where the slots are: it redirects
	// them with MOVED. Default: any node takes every command.
	Cluster bool
	// StaleReadBound is how old the answers may be that a client gets after READONLY. Default 1 s.
	StaleReadBound time.Duration

	// MaxConns bounds the connections; one more is refused with Redis' error. Default 10,000, as
	// in Redis. CONFIG SET maxclients changes it.
	MaxConns int
	// MaxConnsPerSource bounds the connections from one address. Default 0: no bound, because a
	// proxy or a busy host is one address.
	MaxConnsPerSource int
	// MaxStrangers bounds the connections that have not authenticated. Default 256.
	MaxStrangers int
	// StrangerTimeout is how long a connection that has not authenticated may take for each
	// command, the wait for it included. Default 10 s.
	StrangerTimeout time.Duration
	// MaxQueuedBytes bounds what the MULTI blocks of all connections hold; a command beyond it
	// is refused and with it its block. Default 256 MiB.
	MaxQueuedBytes int64
	// MaxLargeBytes bounds what commands of more than 64 KiB, and replies to KEYS, hold beyond that,
	// together; more waits for some seconds and is then refused. Default 256 MiB. A value of the largest size needs
	// 64 MiB of it.
	MaxLargeBytes int
	// MaxReplyBytes bounds what replies of more than 64 KiB hold while they wait for their clients,
	// together; a quarter as much again waits for room. When it is full a client that is behind with
	// its reply is cut; a reply that finds none waits for up to 3 s and is then refused. Default
	// 256 MiB.
	MaxReplyBytes int
	// IdleTimeout closes a connection that sends nothing for so long. Default 0, never, as in
	// Redis: a peer that is gone is found by TCP keepalive. CONFIG SET timeout changes it.
	IdleTimeout time.Duration
	// CommandTimeout is how long a client may take to send one command once it began, or to take
	// in a part of a reply. Default 30 s: the largest command at 280 kB/s.
	CommandTimeout time.Duration

	// Observe is told of every command: its name in lower case ("unknown" if there is none such),
	// the code of its error or empty, and the time it took. Default: nobody is told.
	Observe func(command string, code api.Code, took time.Duration)
	// Tracer begins the traces of requests. Default: none.
	Tracer *trace.Tracer
	Clock  clock.Clock  // default: the machine's
	Logger *slog.Logger // default: silence
}

func (o Options) withDefaults() Options {
	if o.MaxConns == 0 {
		o.MaxConns = 10_000
	}
	if o.StaleReadBound == 0 {
		o.StaleReadBound = time.Second
	}
	if o.MaxStrangers == 0 {
		o.MaxStrangers = 256
	}
	if o.StrangerTimeout == 0 {
		o.StrangerTimeout = 10 * time.Second
	}
	if o.MaxQueuedBytes == 0 {
		o.MaxQueuedBytes = 256 << 20
	}
	if o.MaxLargeBytes == 0 {
		o.MaxLargeBytes = 256 << 20
	}
	if o.MaxReplyBytes == 0 {
		o.MaxReplyBytes = 256 << 20
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
	large   *room
	unread  *unread
	ctx     context.Context
	cancel  context.CancelFunc

	stats     *stats
	settings  settings
	queued    atomic.Int64 // bytes in MULTI blocks
	lastID    atomic.Int64
	cutLogged atomic.Int64 // when cutUnread logged, in milliseconds since the epoch
	closing   atomic.Bool
	conns     sync.WaitGroup

	// mu is a leaf.
	mu struct {
		sync.Mutex
		closed    bool
		listeners map[net.Listener]struct{}
		open      map[*conn]struct{}
		strangers map[*conn]struct{} // of open, those that have not authenticated and were not cut
		sources   map[netip.Addr]int // open connections by address, if they are bounded
	}
}

// New makes a Server. It starts no goroutine.
func New(o Options) *Server {
	o = o.withDefaults()
	s := &Server{opts: o, started: o.Clock.Now(), large: newRoom(o.MaxLargeBytes), stats: newStats()}
	s.unread = newUnread(o.MaxReplyBytes, o.Clock, s.cutUnread)
	s.settings.set(&o)
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx, s.cancel = server.Shared(ctx), cancel
	s.mu.listeners = make(map[net.Listener]struct{})
	s.mu.open = make(map[*conn]struct{})
	s.mu.strangers = make(map[*conn]struct{})
	s.mu.sources = make(map[netip.Addr]int)
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
	s.stats.accepted.Add(1)
	c := newConn(s, netConn)
	s.mu.Lock()
	closed, full := s.mu.closed, s.fullLocked(c)
	if !closed && !full {
		s.addLocked(c, 1)
		s.conns.Add(1)
	}
	s.mu.Unlock()
	switch {
	case closed:
		_ = netConn.Close()
	case full:
		s.stats.turnedAway.Add(1)
		c.refuse(wire.Error("ERR max number of clients reached"))
	default:
		go c.serveConn()
	}
}

// fullLocked reports whether there is no room for c.
func (s *Server) fullLocked(c *conn) bool {
	perSource := s.opts.MaxConnsPerSource
	return int64(len(s.mu.open)) >= s.settings.maxClients.Load() ||
		perSource > 0 && s.mu.sources[c.source] >= perSource ||
		!c.authenticated && len(s.mu.strangers) >= s.opts.MaxStrangers && !s.cutStrangerLocked(c.source)
}

// addLocked counts c in, or with -1 out.
func (s *Server) addLocked(c *conn, delta int) {
	if delta > 0 {
		s.mu.open[c] = struct{}{}
	} else {
		delete(s.mu.open, c)
	}
	switch {
	case delta < 0:
		delete(s.mu.strangers, c)
	case !c.authenticated:
		s.mu.strangers[c] = struct{}{}
	}
	if s.opts.MaxConnsPerSource > 0 {
		if s.mu.sources[c.source] += delta; s.mu.sources[c.source] == 0 {
			delete(s.mu.sources, c.source)
		}
	}
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	s.addLocked(c, -1)
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
