package resp

import (
	"context"
	"net/netip"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// What a stranger, a connection that has not authenticated, may cost beside Options.MaxStrangers
// and StrangerTimeout. AUTH and HELLO need a fraction of it.
const (
	maxStrangerReplyBytes = 16 << 10
	handshakeTimeout      = 5 * time.Second
)

const (
	errWrongPassword = wire.Error("WRONGPASS invalid username-password pair or user is disabled.")
	errHello         = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> " +
		"option can be used to authenticate the client and select the RESP protocol version at the same time"
)

var errNoAuth = wire.Coded("NOAUTH Authentication required.", api.CodeUnauthorized)

// passwordRequired reports whether a new connection is a stranger.
func (s *Server) passwordRequired() bool { return s.opts.Access != nil && s.opts.Access.Required() }

// setAuthenticated makes the connection a stranger or not. The server counts strangers from the
// moment that it has taken the connection in.
func (c *conn) setAuthenticated(yes bool) {
	c.in.Strange = !yes
	if c.authenticated == yes {
		return
	}
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	c.authenticated = yes
	if _, open := s.mu.open[c]; !open {
		return
	}
	if yes {
		delete(s.mu.strangers, c)
	} else {
		s.mu.strangers[c] = struct{}{}
	}
}

// cutStrangerLocked makes room for a stranger from source: it ends the oldest of the address that
// has most, if that has more than source is to have. So one address cannot keep the clients of all
// others from authenticating, however often it connects (U7).
func (s *Server) cutStrangerLocked(source netip.Addr) bool {
	counts := make(map[netip.Addr]int)
	for c := range s.mu.strangers {
		counts[c.source]++
	}
	var oldest *conn
	for c := range s.mu.strangers {
		n := counts[c.source]
		switch {
		case n <= counts[source]+1:
		case oldest == nil, n > counts[oldest.source], n == counts[oldest.source] && c.id < oldest.id:
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	delete(s.mu.strangers, oldest)
	oldest.cut.Store(true)
	_ = oldest.net.SetDeadline(now()) // closing TLS could wait for the client
	s.stats.turnedAway.Add(1)
	return true
}

// handshake does what TLS does before the first byte, if the connection speaks TLS.
func (c *conn) handshake() error {
	secure, ok := c.net.(interface{ HandshakeContext(context.Context) error })
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.server.ctx, handshakeTimeout)
	defer cancel()
	return secure.HandshakeContext(ctx)
}

// defaultUser is the only user there is.
const defaultUser = "default"

// authenticate checks a password. It changes the connection only if the password is right.
func (c *conn) authenticate(ctx context.Context, user string, password []byte) error {
	var err error
	switch {
	case c.server.passwordRequired():
		err = c.server.opts.Access.Check(ctx, user, password, c.net.RemoteAddr())
	case user != defaultUser: // who has any password, as in Redis
		err = api.ErrUnauthorized
	}
	if api.CodeOf(err) == api.CodeUnauthorized {
		return wire.Coded(errWrongPassword, api.CodeUnauthorized)
	}
	if err == nil {
		c.setAuthenticated(true)
	}
	return err
}

func onAuth(ctx context.Context, c *conn, args [][]byte) error {
	user, password := defaultUser, args[1]
	switch {
	case len(args) > 3:
		return wire.ErrSyntax
	case len(args) == 3:
		user, password = string(args[1]), args[2]
	case !c.server.passwordRequired():
		return wire.Error("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	}
	if err := c.authenticate(ctx, user, password); err != nil {
		return err
	}
	c.out.OK()
	return nil
}

// helloOptions are what HELLO asks for.
type helloOptions struct {
	version        int
	user, password []byte // with AUTH
	auth           bool
	name           *string
}

// onHello changes nothing unless all of its options are right, but for AUTH, which counts although
// a later option is wrong.
func onHello(ctx context.Context, c *conn, args [][]byte) error {
	o, err := parseHello(args, c.out.Version)
	if o.auth {
		if err := c.authenticate(ctx, string(o.user), o.password); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
		return err
	case !c.authenticated:
		return wire.Coded(errHello, api.CodeUnauthorized)
	}
	c.out.Version = o.version
	if o.name != nil {
		c.name = *o.name
	}
	c.hello()
	return nil
}

func parseHello(args [][]byte, version int) (helloOptions, error) {
	o := helloOptions{version: version}
	if len(args) > 1 {
		n, ok := wire.ParseNumber(args[1])
		switch {
		case !ok:
			return o, wire.Error("ERR Protocol version is not an integer or out of range")
		case n < 2 || n > 3:
			return o, wire.Error("NOPROTO unsupported protocol version")
		}
		o.version = int(n)
	}
	for i := 2; i < len(args); {
		switch word := wire.Option(args[i]); {
		case word == "auth" && i+2 < len(args):
			o.auth, o.user, o.password = true, args[i+1], args[i+2]
			i += 3
		case word == "setname" && i+1 < len(args):
			if !validName(args[i+1]) {
				return o, errClientName
			}
			name := string(args[i+1])
			o.name = &name
			i += 2
		default:
			return o, wire.Error("ERR Syntax error in HELLO option '" + wire.Echo(args[i]) + "'")
		}
	}
	return o, nil
}

func (c *conn) hello() {
	c.out.Dict(7)
	c.out.BulkString("server")
	c.out.BulkString("redis")
	c.out.BulkString("version")
	c.out.BulkString(redisVersion)
	c.out.BulkString("proto")
	c.out.Integer(int64(c.out.Version))
	c.out.BulkString("id")
	c.out.Integer(c.id)
	c.out.BulkString("mode")
	c.out.BulkString(c.server.mode())
	c.out.BulkString("role")
	c.out.BulkString("master")
	c.out.BulkString("modules")
	c.out.Array(0)
}

// mode is what INFO and HELLO call this listener.
func (s *Server) mode() string {
	if s.opts.Cluster {
		return "cluster"
	}
	return "standalone"
}
