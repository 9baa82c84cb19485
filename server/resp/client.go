package resp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lightning-db/lightning/server/resp/wire"
)

func clientCommands() []*command {
	plain := []string{"noscript", "loading", "stale"}
	admin := []string{"admin", "noscript", "loading", "stale"}
	own := func(name string, arity int, since, summary string, run func(context.Context, *conn, [][]byte) error) *command {
		return &command{name: name, arity: arity, flags: plain, categories: []string{"@slow", "@connection"}, since: since, summary: summary, run: run, queued: true}
	}
	others := func(name string, arity int, since, summary string, run func(context.Context, *conn, [][]byte) error) *command {
		return &command{name: name, arity: arity, flags: admin, categories: []string{"@admin", "@slow", "@dangerous", "@connection"}, since: since, summary: summary, run: run, queued: true}
	}
	tracking := own("tracking", -3, "6.0.0", "OFF; ON is refused", onClientTracking)
	tracking.differs = "changes of keys are not announced, and a cache in the client would go stale; rueidis needs DisableCache"
	pause := others("pause", -3, "3.0.0", "refused", onClientPause)
	pause.differs = "the other nodes would go on, so nothing would stand still"
	noTouch := own("no-touch", 3, "7.2.0", "accepted", onClientSwitch)
	noTouch.differs = "changes nothing: the last use of a key is not tracked"
	noEvict := others("no-evict", 3, "7.0.0", "accepted", onClientSwitch)
	noEvict.differs = "changes nothing: connections are not evicted"
	return []*command{container(command{name: "client", arity: -2, categories: []string{"@slow"}, group: "connection", since: "2.4.0",
		summary: "this connection and the others of this node"},
		own("id", 2, "5.0.0", "the id of this connection", func(_ context.Context, c *conn, _ [][]byte) error { c.out.Integer(c.id); return nil }),
		own("info", 2, "6.2.0", "this connection's line of LIST", func(_ context.Context, c *conn, _ [][]byte) error { c.out.Text(c.describe()); return nil }),
		others("list", -2, "2.4.0", "the connections of this node; TYPE, ID", onClientList),
		own("getname", 2, "2.6.9", "the name of this connection", onClientGetName),
		own("setname", 3, "2.6.9", "names this connection", onClientSetName),
		own("setinfo", 4, "7.2.0", "LIB-NAME, LIB-VER: what the library says of itself", onClientSetInfo),
		others("kill", -3, "2.4.0", "ends connections of this node; ID, ADDR, LADDR, TYPE, USER, SKIPME", onClientKill),
		own("reply", 3, "3.2.0", "ON, OFF, SKIP", onClientReply),
		noEvict, noTouch, pause,
		others("unpause", 2, "6.2.0", "accepted: nothing is paused", func(_ context.Context, c *conn, _ [][]byte) error { c.out.OK(); return nil }),
		others("unblock", -3, "5.0.0", "0: no command blocks", onClientUnblock),
		tracking,
		own("trackinginfo", 2, "6.2.0", "tracking is off", onClientTrackingInfo),
		own("caching", 3, "6.0.0", "refused: tracking is off", onClientCaching),
		own("getredir", 2, "6.0.0", "-1: tracking is off", func(_ context.Context, c *conn, _ [][]byte) error { c.out.Integer(-1); return nil }),
	)}
}

const errClientName = wire.Error("ERR Client names cannot contain spaces, newlines or special characters.")

// maxClientNameBytes bounds what a connection can make us keep.
const maxClientNameBytes = 256

func validName(name []byte) bool {
	for _, b := range name {
		if b < '!' || b > '~' {
			return false
		}
	}
	return len(name) <= maxClientNameBytes
}

func onClientGetName(_ context.Context, c *conn, _ [][]byte) error {
	if c.name == "" {
		c.out.Null()
		return nil
	}
	c.out.BulkString(c.name)
	return nil
}

func onClientSetName(_ context.Context, c *conn, args [][]byte) error {
	if !validName(args[2]) {
		return errClientName
	}
	c.name = string(args[2])
	c.out.OK()
	return nil
}

func onClientSetInfo(_ context.Context, c *conn, args [][]byte) error {
	field := map[string]*string{"lib-name": &c.library, "lib-ver": &c.libraryVer}[wire.Option(args[2])]
	if field == nil {
		return wire.Error("ERR Unrecognized option '" + wire.Echo(args[2]) + "'")
	}
	if !validName(args[3]) {
		return wire.Error("ERR " + wire.Option(args[2]) + " cannot contain spaces, newlines or special characters.")
	}
	*field = string(args[3])
	c.out.OK()
	return nil
}

// onClientSwitch accepts switches for what is not done here.
func onClientSwitch(_ context.Context, c *conn, args [][]byte) error {
	if _, ok := parseSwitch(args[2]); !ok {
		return wire.ErrSyntax
	}
	c.out.OK()
	return nil
}

func parseSwitch(arg []byte) (on, ok bool) {
	word := wire.Option(arg)
	return word == "on", word == "on" || word == "off"
}

func onClientReply(_ context.Context, c *conn, args [][]byte) error {
	on, ok := parseSwitch(args[2])
	switch {
	case wire.Option(args[2]) == "skip":
		c.muted.skip = true
	case !ok:
		return wire.ErrSyntax
	default:
		c.muted.set(&c.out, !on)
		if on {
			c.out.OK()
		}
	}
	return nil
}

func onClientPause(_ context.Context, _ *conn, args [][]byte) error {
	switch n, ok := wire.ParseNumber(args[2]); {
	case !ok:
		return wire.Error("ERR timeout is not an integer or out of range")
	case n < 0:
		return wire.Error("ERR timeout is negative")
	case len(args) > 4:
		return wire.ErrSyntax
	case len(args) == 4 && wire.Option(args[3]) != "write" && wire.Option(args[3]) != "all":
		return wire.Error("ERR CLIENT PAUSE mode must be WRITE or ALL")
	}
	return wire.Error("ERR CLIENT PAUSE is not supported: the other nodes of the cluster would go on")
}

func onClientUnblock(_ context.Context, c *conn, args [][]byte) error {
	if len(args) > 4 {
		return wire.ErrSyntax
	}
	if len(args) == 4 && wire.Option(args[3]) != "timeout" && wire.Option(args[3]) != "error" {
		return wire.Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
	}
	if _, ok := wire.ParseNumber(args[2]); !ok {
		return wire.ErrNotInteger
	}
	c.out.Integer(0)
	return nil
}

func onClientTracking(_ context.Context, c *conn, args [][]byte) error {
	on, ok := parseSwitch(args[2])
	switch {
	case !ok:
		return wire.ErrSyntax
	case on:
		return wire.Error("ERR CLIENT TRACKING is not supported: changes of keys are not announced")
	}
	c.out.OK()
	return nil
}

func onClientTrackingInfo(_ context.Context, c *conn, _ [][]byte) error {
	c.out.Dict(3)
	c.out.BulkString("flags")
	c.out.Set(1)
	c.out.BulkString("off")
	c.out.BulkString("redirect")
	c.out.Integer(-1)
	c.out.BulkString("prefixes")
	c.out.Array(0)
	return nil
}

func onClientCaching(context.Context, *conn, [][]byte) error {
	return wire.Error("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
}

// shown is what other connections see of this one.
type shown struct {
	name, library, libraryVer     string
	version, channels, patterns   int
	shards, queued, watched       int
	inBlock, readOnly, subscribed bool
}

// show publishes what has changed.
func (c *conn) show() {
	now := shown{
		name: c.name, library: c.library, libraryVer: c.libraryVer, version: c.out.Version,
		channels: len(c.subscribed.names[toChannel]), patterns: len(c.subscribed.names[toPattern]), shards: len(c.subscribed.names[toShard]),
		watched: len(c.watched), inBlock: c.block != nil, readOnly: c.readOnly, subscribed: c.subscribed.count() > 0,
	}
	if c.block != nil {
		now.queued = len(c.block.commands)
	}
	if last := c.shown.Load(); last == nil || *last != now {
		kept := now // so that only a change costs memory
		c.shown.Store(&kept)
	}
}

// kind is what CLIENT LIST TYPE and KILL TYPE choose by.
func (s *shown) kind() string {
	if s.subscribed {
		return "pubsub"
	}
	return "normal"
}

// describe is the connection's line in CLIENT LIST. Any goroutine may ask.
func (c *conn) describe() string {
	s := c.shown.Load()
	var flags string
	for _, f := range []struct {
		mark string
		set  bool
	}{{"P", s.subscribed}, {"x", s.inBlock}, {"r", s.readOnly}} {
		if f.set {
			flags += f.mark
		}
	}
	if flags == "" {
		flags = "N"
	}
	queued := -1
	if s.inBlock {
		queued = s.queued
	}
	last := "NULL"
	if cmd := c.lastCommand.Load(); cmd != nil {
		last = cmd.name
	}
	age := c.server.opts.Clock.Now().Sub(c.since) / time.Second
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=-1 name=%s age=%d idle=%d flags=%s db=0 sub=%d psub=%d ssub=%d multi=%d watch=%d "+
		"qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=%s user=default redir=-1 resp=%d lib-name=%s lib-ver=%s\n",
		c.id, c.net.RemoteAddr(), c.net.LocalAddr(), s.name, age, c.idleSeconds(), flags, s.channels, s.patterns, s.shards, queued, s.watched,
		last, s.version, s.library, s.libraryVer)
}

// clients are the connections of this server by age.
func (s *Server) clients() []*conn {
	s.mu.Lock()
	list := make([]*conn, 0, len(s.mu.open))
	for c := range s.mu.open {
		list = append(list, c)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *conn) int { return int(a.id - b.id) })
	return list
}

func errClientType(arg []byte) error {
	return wire.Error("ERR Unknown client type '" + wire.Echo(arg) + "'")
}

// clientType reads a type; no connection is a master's or a replica's.
func clientType(arg []byte) (string, bool) {
	word := wire.Option(arg)
	return word, slices.Contains([]string{"normal", "master", "replica", "slave", "pubsub"}, word)
}

func onClientList(_ context.Context, c *conn, args [][]byte) error {
	chosen := func(*conn) bool { return true }
	switch {
	case len(args) == 2:
	case wire.Option(args[2]) == "type" && len(args) == 4:
		word, ok := clientType(args[3])
		if !ok {
			return errClientType(args[3])
		}
		chosen = func(other *conn) bool { return other.shown.Load().kind() == word }
	case wire.Option(args[2]) == "id" && len(args) > 3:
		ids := make(map[int64]bool)
		for _, arg := range args[3:] {
			id, ok := wire.ParseNumber(arg)
			if !ok {
				return wire.Error("ERR Invalid client ID")
			}
			ids[id] = true
		}
		chosen = func(other *conn) bool { return ids[other.id] }
	default:
		return wire.ErrSyntax
	}
	var b strings.Builder
	for _, other := range c.server.clients() {
		if chosen(other) {
			b.WriteString(other.describe())
		}
	}
	if err := c.holdReply(b.Len()); err != nil {
		return err
	}
	c.out.Text(b.String())
	return nil
}

// victims are the connections that CLIENT KILL chooses: those that every filter holds for.
type victims struct {
	filters []func(*conn) bool
	spareMe bool
}

func onClientKill(_ context.Context, c *conn, args [][]byte) error {
	if len(args) == 3 { // the old form: an address, and an error when nobody has it
		address := string(args[2])
		if c.kill(victims{filters: []func(*conn) bool{func(other *conn) bool { return other.net.RemoteAddr().String() == address }}}) == 0 {
			return wire.Error("ERR No such client")
		}
		c.out.OK()
		return nil
	}
	v, err := parseKill(args[2:])
	if err != nil {
		return err
	}
	c.out.Integer(int64(c.kill(v)))
	return nil
}

func parseKill(args [][]byte) (victims, error) {
	v := victims{spareMe: true}
	for ; len(args) > 0; args = args[2:] {
		if len(args) == 1 {
			return v, wire.ErrSyntax
		}
		value := string(args[1])
		switch wire.Option(args[0]) {
		case "id":
			id, ok := wire.ParseNumber(args[1])
			if !ok || id < 1 {
				return v, wire.Error("ERR client-id should be greater than 0")
			}
			v.filters = append(v.filters, func(other *conn) bool { return other.id == id })
		case "addr":
			v.filters = append(v.filters, func(other *conn) bool { return other.net.RemoteAddr().String() == value })
		case "laddr":
			v.filters = append(v.filters, func(other *conn) bool { return other.net.LocalAddr().String() == value })
		case "type":
			word, ok := clientType(args[1])
			if !ok {
				return v, errClientType(args[1])
			}
			v.filters = append(v.filters, func(other *conn) bool { return other.shown.Load().kind() == word })
		case "user":
			if value != defaultUser {
				return v, wire.Error("ERR No such user '" + wire.Echo(args[1]) + "'")
			}
		case "skipme":
			word := wire.Option(args[1])
			if word != "yes" && word != "no" {
				return v, wire.ErrSyntax
			}
			v.spareMe = word == "yes"
		default:
			return v, wire.ErrSyntax
		}
	}
	return v, nil
}

// kill ends connections and counts them. This one ends after its reply.
func (c *conn) kill(v victims) int {
	killed := 0
	for _, other := range c.server.clients() {
		if v.spareMe && other == c || slices.ContainsFunc(v.filters, func(holds func(*conn) bool) bool { return !holds(other) }) {
			continue
		}
		killed++
		if other == c {
			c.quit = true
		} else {
			_ = other.net.Close() // its goroutine sees that and ends
		}
	}
	return killed
}
