package resp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
)

// conn is one client. All of it belongs to the connection's goroutine, but for net, which Close
// uses too.
type conn struct {
	server *Server
	net    net.Conn
	id     int64
	in     *reader
	out    reply
	since  time.Time
	name   string // CLIENT SETNAME
	quit   bool   // the connection ends after this reply

	holdsLarge   bool // one of Server.large
	hasDeadline  bool // of reading
	commandBegan bool // the deadline is that of a command
}

func newConn(s *Server, netConn net.Conn) *conn {
	c := &conn{server: s, net: netConn, id: s.lastID.Add(1), since: s.opts.Clock.Now()}
	c.in = newReader(socketReader{c}, c.reserveLarge)
	c.out = reply{out: socketWriter{c}, version: 2}
	return c
}

// refuse sends an error and closes. The client may not read it; that is its loss.
func (c *conn) refuse(err error) {
	_ = c.net.SetWriteDeadline(now().Add(time.Second))
	c.out.error(err)
	_ = c.out.flush()
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
	defer c.releaseLarge()
	for !c.quit {
		q, err := c.in.next()
		if err != nil {
			c.onReadError(err)
			return
		}
		c.run(q)
		c.releaseLarge()
		if c.out.err != nil {
			return
		}
	}
	_ = c.out.flush() // the connection ends either way
}

func (c *conn) onReadError(err error) {
	var broken protocolError
	if errors.As(err, &broken) {
		c.out.error(replyError("ERR " + broken.Error()))
	}
	if c.out.flush() == nil && errors.As(err, &broken) {
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

// run runs one request and tells the observer.
func (c *conn) run(q request) {
	c.server.commands.Add(1)
	began := c.server.opts.Clock.Now()
	name, err := c.dispatch(q)
	if err != nil {
		c.out.error(err)
	}
	code := api.CodeOf(err)
	var text replyError
	if errors.As(err, &text) {
		code = api.CodeInvalid
	}
	c.server.opts.Observe(name, code, c.server.opts.Clock.Now().Sub(began))
}

// dispatch finds the command, checks its arity and runs it.
func (c *conn) dispatch(q request) (name string, err error) {
	if q.refused != nil {
		if len(q.args) > 0 {
			if cmd := lookup(q.args[0]); cmd != nil {
				return cmd.name, q.refused
			}
		}
		return unknownName, q.refused
	}
	cmd := lookup(q.args[0])
	if cmd == nil {
		c.quit = isHTTP(q.args[0])
		return unknownName, errUnknownCommand(q.args)
	}
	if !cmd.accepts(len(q.args)) {
		return cmd.name, errArity(cmd.name)
	}
	return cmd.name, c.call(cmd, q.args)
}

// isHTTP recognises a line of an HTTP request. The connection then ends, because a web page can
// make a browser send a request whose body is commands (Redis: securityWarningCommand).
func isHTTP(name []byte) bool {
	return bytes.EqualFold(name, []byte("post")) || bytes.EqualFold(name, []byte("host:"))
}

// call runs a handler. A panic is our bug: it ends this connection with an error, and the node
// goes on (U4).
func (c *conn) call(cmd *command, args [][]byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.server.opts.Logger.Error("a command panicked", "command", cmd.name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			c.quit = true
			err = api.Errorf(api.CodeInternal, "internal error in '%s'; the connection is closed", cmd.name)
		}
	}()
	if cmd.plan != nil {
		return c.execute(c.server.ctx, cmd, args)
	}
	return cmd.run(c.server.ctx, c, args)
}

// reserveLarge waits for the right to hold a large command (U3).
func (c *conn) reserveLarge() error {
	select {
	case c.server.large <- struct{}{}:
		c.holdsLarge = true
		return nil
	default:
	}
	// The replies so far are sent before the wait, in case the client waits for them.
	if err := c.out.flush(); err != nil {
		return err
	}
	select {
	case c.server.large <- struct{}{}:
		c.holdsLarge = true
		return nil
	case <-c.server.ctx.Done():
		return context.Cause(c.server.ctx)
	}
}

func (c *conn) releaseLarge() {
	if c.holdsLarge {
		c.holdsLarge = false
		<-c.server.large
	}
}

// socketReader reads from the client. Whoever has to wait for the client has sent it all
// replies first.
type socketReader struct{ c *conn }

// Read implements io.Reader.
func (s socketReader) Read(p []byte) (int, error) {
	c := s.c
	if err := c.out.flush(); err != nil {
		return 0, err
	}
	c.setReadDeadline()
	if c.server.closing.Load() {
		// Checked after the deadline was set, which undoes a kick that came before.
		return 0, io.EOF
	}
	return c.net.Read(p)
}

// setReadDeadline gives a command that has begun CommandTimeout as a whole, and the wait for the
// next one IdleTimeout.
func (c *conn) setReadDeadline() {
	o := &c.server.opts
	switch {
	case c.in.midCommand && c.commandBegan:
		return
	case c.in.midCommand:
		_ = c.net.SetReadDeadline(now().Add(o.CommandTimeout)) // fails only on a closed socket, as Read will
		c.hasDeadline = true
	case o.IdleTimeout > 0:
		_ = c.net.SetReadDeadline(now().Add(o.IdleTimeout))
		c.hasDeadline = true
	case c.hasDeadline:
		_ = c.net.SetReadDeadline(time.Time{})
		c.hasDeadline = false
	}
	c.commandBegan = c.in.midCommand
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
		_ = s.c.net.SetWriteDeadline(now().Add(s.c.server.opts.CommandTimeout)) // as in setReadDeadline
		n, err := s.c.net.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		p = p[len(piece):]
	}
	return written, nil
}
