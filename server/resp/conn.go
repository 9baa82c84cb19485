package resp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// conn is one client.
type conn struct {
	// Set by newConn, never written again. Close and CLIENT KILL use net too.
	server *Server
	net    net.Conn
	id     int64
	since  time.Time
	source netip.Addr

	// Owned by the connection's goroutine.
	in            *wire.Reader
	turn          turn
	out           wire.Reply
	name          string // CLIENT SETNAME
	library       string // CLIENT SETINFO
	libraryVer    string
	authenticated bool
	readOnly      bool // READONLY: stale reads from the replica here
	stale         bool // the command that runs is such a read
	quit          bool // the connection ends after this reply
	muted         mute
	block         *block // of MULTI, nil outside
	watched       []watchedKey
	held          int64 // bytes of block and watched
	subscribed    subscriptions

	heldLarge    int         // bytes of Server.large
	reply        *largeReply // the reply that is being written, if it is large
	hasDeadline  bool        // of reading
	commandBegan bool        // the deadline is that of a command
	// writeDeadline is that of writing, as it was set last.
	writeDeadline time.Time

	cut atomic.Bool // set when the connection has to make room for another's

	// Written by the connection's goroutine, read by CLIENT LIST and KILL.
	shown       atomic.Pointer[shown]
	lastCommand atomic.Pointer[command]
	lastMillis  atomic.Uint64
}

func newConn(s *Server, netConn net.Conn) *conn {
	c := &conn{server: s, net: netConn, id: s.lastID.Add(1), since: s.opts.Clock.Now(), source: network.Source(netConn.RemoteAddr())}
	c.in = wire.NewReader(socketReader{c}, c.reserveLarge, c.claimLong)
	c.out = wire.NewReply(socketWriter{c})
	c.setAuthenticated(!s.passwordRequired())
	c.lastMillis.Store(clock.Millis(s.opts.Clock))
	c.show()
	return c
}

// refuse sends an error and closes. The client may not read it; that is its loss.
func (c *conn) refuse(err error) {
	_ = c.net.SetWriteDeadline(now().Add(time.Second))
	c.out.Fail(err)
	_ = c.out.Flush()
	_ = c.net.Close()
}

// kick ends the wait for the next command. A command that runs ends first.
func (c *conn) kick() { _ = c.net.SetReadDeadline(now()) }

// now is for deadlines of sockets, which the runtime compares with the machine's clock.
func now() time.Time { return clock.Real{}.Now() }

// serveConn runs the commands of one client until either side ends the connection.
func (c *conn) serveConn() {
	defer c.server.forget(c)
	defer c.net.Close()
	defer c.release()
	defer c.endBlock()
	if c.handshake() != nil {
		return
	}
	for !c.quit {
		q, err := c.in.Next() // runs the turn before it waits
		if err != nil {
			c.runTurn()
			c.onReadError(err)
			return
		}
		c.take(q)
		c.commandBegan = false // the next command has a deadline of its own, also in a pipeline
		if c.out.Err() != nil {
			return
		}
	}
	_ = c.out.Flush() // the connection ends either way
}

func (c *conn) onReadError(err error) {
	var broken wire.ProtocolError
	if errors.As(err, &broken) {
		c.out.Fail(wire.Error("ERR " + broken.Error()))
	}
	if c.out.Flush() == nil && errors.As(err, &broken) {
		c.linger()
	}
}

// What linger takes in before it gives up.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 1 << 20
)

// linger throws away what the client is still sending: a socket that is closed with unread data
// is reset, and the client would never read what was wrong.
func (c *conn) linger() {
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.net.SetReadDeadline(now().Add(lingerTime))
	if c.server.closing.Load() {
		return
	}
	_, _ = io.CopyN(io.Discard, c.net, lingerBytes) // whatever comes, the connection ends
}

// run runs one request, unless it was refused already, and tells the observer.
func (c *conn) run(q wire.Request, refusal error) {
	o := &c.server.opts
	began := o.Clock.Now()
	c.muted.begin(&c.out)
	cmd, admitted, err := c.dispatch(q, refusal)
	if err != nil {
		c.out.Fail(err)
	}
	c.muted.end(&c.out)
	c.lastMillis.Store(uint64(began.UnixMilli()))
	c.show()
	if !c.authenticated && c.out.Pending() > maxStrangerReplyBytes {
		_ = c.out.Flush() // an error stays and ends the connection
	}
	c.observe(cmd, admitted, err, o.Clock.Now().Sub(began))
}

// codeOf is the code of an error for the observer.
func codeOf(err error) api.Code {
	var text wire.Error
	var coded wire.CodedError
	switch {
	case errors.As(err, &coded):
		return coded.Code
	case errors.As(err, &text):
		return api.CodeInvalid
	}
	return api.CodeOf(err)
}

// dispatch finds the command, looks whether it may run, and runs or queues it. cmd is nil when
// there is none; admitted is false when it was refused before it began.
func (c *conn) dispatch(q wire.Request, refusal error) (cmd *command, admitted bool, err error) {
	if q.Refused != nil {
		if len(q.Args) > 0 {
			cmd, _ = find(q.Args)
		}
		return cmd, false, c.reject(cmd, q.Refused)
	}
	cmd, err = find(q.Args)
	if cmd != nil {
		c.lastCommand.Store(cmd)
	}
	if err != nil {
		c.quit = cmd == nil && isHTTP(q.Args[0])
		return cmd, false, c.reject(nil, err)
	}
	if refusal == nil {
		refusal = c.admit(cmd, q.Args)
	}
	if refusal != nil {
		return cmd, false, c.reject(cmd, refusal)
	}
	if c.block != nil && !runsInBlock[cmd.name] {
		err := c.block.add(c, cmd, q)
		if err != nil {
			return cmd, false, c.reject(cmd, err)
		}
		c.out.Simple("QUEUED")
		return cmd, true, nil
	}
	return cmd, true, c.call(cmd, q.Args)
}

// admit decides whether a command may run, in Redis' order (U6).
func (c *conn) admit(cmd *command, args [][]byte) error {
	if !cmd.accepts(len(args)) {
		return wire.ErrArity(cmd.name)
	}
	if !c.authenticated && !slices.Contains(cmd.flags, "no_auth") {
		return errNoAuth
	}
	if err := c.redirect(cmd, args); err != nil {
		return err
	}
	if c.out.Version == 2 && c.subscribed.count() > 0 && !runsSubscribed[cmd.name] {
		return wire.Error("ERR Can't execute '" + cmd.name + "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
	}
	return nil
}

// isHTTP recognises a line of an HTTP request. The connection then ends, because a web page can
// make a browser send a request whose body is commands (Redis: securityWarningCommand).
func isHTTP(name []byte) bool {
	return bytes.EqualFold(name, []byte("post")) || bytes.EqualFold(name, []byte("host:"))
}

// call runs a handler. A panic is our bug: it ends this connection with an error, and the node
// goes on (U4).
func (c *conn) call(cmd *command, args [][]byte) (err error) {
	defer c.recover(cmd, &err)
	if c.server.opts.Tracer == nil || !slices.ContainsFunc(cmd.flags, ofData) {
		return cmd.run(c.server.ctx, c, args)
	}
	ctx, span := c.server.traced(cmd.name)
	err = cmd.run(ctx, c, args)
	span.End(err)
	return err
}

// ofData reports whether a command with the flag reads or writes keys.
func ofData(flag string) bool { return flag == "readonly" || flag == "write" }

// largeWait is how long a large command waits for room before it is refused. Commands that wait for
// each other, each half read, must not do so for longer.
const largeWait = 5 * time.Second

// longWait is how long the first long argument of a command waits for room. Nobody who waits for it holds
// another, so it may be for longer.
const longWait = 15 * time.Second

// reserveLarge waits for room for more bytes of a large command (U3).
func (c *conn) reserveLarge(bytes int) error { return c.waitForLarge(bytes, largeWait) }

// claimLong finds room for a long argument before it is read. Only the first of a command waits.
func (c *conn) claimLong(bytes int, first bool) error {
	if !first {
		return c.waitForLarge(bytes, 0)
	}
	err := c.waitForLarge(bytes, longWait)
	c.commandBegan = false // the client has the time of a command from now on
	return err
}

func (c *conn) waitForLarge(bytes int, wait time.Duration) error {
	s := c.server
	if most := s.opts.MaxLargeBytes; c.heldLarge+bytes > most {
		return api.Errorf(api.CodeTooLarge, "the command needs more than %d bytes, all that this node has for long commands together; HTTP and the SDK take a value piece by piece, and a higher --memory-limit gives a node more", most)
	}
	if !s.large.tryTake(bytes) {
		// What came before is answered before the wait, in case the client waits for that.
		c.runTurn()
		if err := c.out.Flush(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(s.ctx, wait)
		defer cancel()
		if !s.large.take(ctx, bytes) {
			if s.ctx.Err() != nil {
				return context.Cause(s.ctx)
			}
			return api.Errorf(api.CodeOverloaded, "the large commands of all connections hold too much memory; try again")
		}
	}
	c.heldLarge += bytes
	return nil
}

// release gives back what the command took.
func (c *conn) release() {
	c.server.large.give(c.heldLarge)
	c.heldLarge = 0
	c.releaseReply()
}

// socketReader reads from the client. Whoever has to wait for the client has sent it all
// replies first.
type socketReader struct{ c *conn }

// Read implements io.Reader.
func (s socketReader) Read(p []byte) (int, error) {
	c := s.c
	c.runTurn()
	if !c.in.MidCommand { // else a part of the next command has been read
		c.in.Reuse()
	}
	if err := c.out.Flush(); err != nil {
		return 0, err
	}
	if c.quit {
		return 0, io.EOF
	}
	c.setReadDeadline()
	if c.server.closing.Load() || c.cut.Load() {
		// Checked after the deadline was set, which undoes a kick that came before.
		return 0, io.EOF
	}
	n, err := c.net.Read(p)
	c.server.stats.received.Add(int64(n))
	return n, err
}

// setReadDeadline gives a command that has begun CommandTimeout as a whole, and the wait for the
// next one IdleTimeout.
func (c *conn) setReadDeadline() {
	o, idle := &c.server.opts, c.server.settings.idleTimeout()
	switch {
	case !c.authenticated:
		if !c.commandBegan { // the wait for the command counts too
			_ = c.net.SetReadDeadline(now().Add(o.StrangerTimeout))
			c.hasDeadline, c.commandBegan = true, true
		}
		return
	case c.in.MidCommand && c.commandBegan:
		return
	case c.in.MidCommand:
		_ = c.net.SetReadDeadline(now().Add(o.CommandTimeout)) // fails only on a closed socket, as Read will
		c.hasDeadline = true
	case idle > 0 && c.subscribed.count() == 0:
		_ = c.net.SetReadDeadline(now().Add(idle))
		c.hasDeadline = true
	case c.hasDeadline:
		_ = c.net.SetReadDeadline(time.Time{})
		c.hasDeadline = false
	}
	c.commandBegan = c.in.MidCommand
}

// setWriteDeadline gives the client CommandTimeout for what is written next, or up to an eighth more:
// a deadline that was set a moment ago is not set again.
func (c *conn) setWriteDeadline() {
	timeout := c.server.opts.CommandTimeout
	if at := now(); at.Add(timeout).After(c.writeDeadline) {
		c.writeDeadline = at.Add(timeout + timeout/8)
		_ = c.net.SetWriteDeadline(c.writeDeadline) // as in setReadDeadline
	}
}

// socketWriter writes to the client, which must take in each piece within CommandTimeout.
type socketWriter struct{ c *conn }

// maxPieceBytes is how much a client must take in within one timeout.
const maxPieceBytes = 256 << 10

// Write implements io.Writer.
func (s socketWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		piece := p[:min(len(p), maxPieceBytes)]
		s.c.setWriteDeadline()
		if s.c.cut.Load() { // checked after the deadline was set, which undoes that of the cut
			return written, net.ErrClosed
		}
		n, err := s.c.net.Write(piece)
		written += n
		s.c.server.stats.sent.Add(int64(n))
		if s.c.reply != nil {
			s.c.server.unread.moved(s.c.reply, n)
		}
		if err != nil {
			return written, err
		}
		p = p[len(piece):]
	}
	if s.c.reply != nil { // only now: a value is held until the last of it is written
		s.c.server.unread.give(s.c.reply, written)
	}
	return written, nil
}
