package resp

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/server/resp/plan"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// redisVersion is the version of Redis whose behaviour the commands follow; clients switch
// features on by it.
const redisVersion = "7.2.0"

func connectionCommands() []*command {
	stale := []string{"loading", "stale", "fast"}
	open := append(connectionFlags, "no_auth", "allow_busy")
	return []*command{
		{name: "ping", arity: -1, flags: []string{"fast"}, categories: inConnection, group: "connection", since: "1.0.0", summary: "answers PONG, or its argument", run: onPing, queued: true},
		{name: "echo", arity: 2, flags: stale, categories: inConnection, group: "connection", since: "1.0.0", summary: "answers its argument", run: onEcho, queued: true},
		{name: "hello", arity: -1, flags: open, categories: inConnection, group: "connection", since: "6.0.0", summary: "chooses the version of the protocol; AUTH, SETNAME", run: onHello, queued: true},
		{name: "auth", arity: -2, flags: open, categories: inConnection, group: "connection", since: "1.0.0", summary: "authenticates; the only user is default", run: onAuth, queued: true,
			differs: "after several wrong passwords from one address, AUTH from there answers OVERLOADED for some seconds"},
		{name: "select", arity: 2, flags: stale, categories: inConnection, group: "connection", since: "1.0.0", summary: "accepts database 0", run: onSelect, queued: true,
			differs: "there is one database, as in Redis Cluster"},
		{name: "quit", arity: -1, flags: open, categories: inConnection, group: "connection", since: "1.0.0", summary: "ends the connection", run: onQuit},
		{name: "reset", arity: 1, flags: open, categories: inConnection, group: "connection", since: "6.2.0", summary: "back to a fresh connection's state", run: onReset},
	}
}

// serverCommands are about the node.
func serverCommands() []*command {
	admin := []string{"admin", "noscript", "loading", "stale"}
	return []*command{
		container(command{name: "command", arity: -1, flags: []string{"loading", "stale"}, categories: []string{"@slow", "@connection"}, group: "server", since: "2.8.13", run: onCommand, queued: true,
			summary: "the table of commands", differs: "has the commands that exist here, with summaries and without the syntax of their arguments"}, commandSubcommands()...),
		{name: "info", arity: -1, flags: []string{"loading", "stale"}, categories: []string{"@slow", "@dangerous"}, group: "server", since: "1.0.0", run: onInfo, queued: true,
			summary: "facts about this node", differs: "the section keyspace only when it is named, because it counts all keys of the cluster"},
		container(command{name: "config", arity: -2, categories: []string{"@slow"}, group: "server", since: "2.0.0", summary: "settings, as a Redis with this behaviour would have them",
			differs: "the settings of a node are flags: lightning-node start --help"}, configSubcommands()...),
		{name: "time", arity: 1, flags: []string{"loading", "stale", "fast"}, categories: []string{"@fast"}, group: "server", since: "2.6.0", summary: "the clock of this node: seconds, microseconds", run: onTime, queued: true},
		{name: "wait", arity: 3, flags: []string{"noscript"}, categories: []string{"@slow", "@connection"}, group: "generic", since: "3.0.0", run: onWait, queued: true,
			summary: "on how many nodes beside the leader each write is", differs: "answers at once: a write is on a majority before it is answered"},
		{name: "role", arity: 1, flags: []string{"noscript", "loading", "stale", "fast"}, categories: []string{"@admin", "@fast", "@dangerous"}, group: "server", since: "2.8.12", summary: "master: every node takes every command", run: onRole, queued: true},
		container(command{name: "acl", arity: -2, categories: []string{"@slow"}, group: "server", since: "6.0.0", summary: "WHOAMI: default, the only user"},
			&command{name: "whoami", arity: 2, flags: []string{"noscript", "loading", "stale"}, categories: []string{"@slow"}, since: "6.0.0", summary: "default", run: onWhoAmI, queued: true}),
		container(command{name: "module", arity: -2, categories: []string{"@slow"}, group: "server", since: "4.0.0", summary: "LIST: there are none"},
			&command{name: "list", arity: 2, flags: admin[:2], categories: []string{"@admin", "@slow", "@dangerous"}, since: "4.0.0", summary: "empty", run: onClusterLinks, queued: true}),
	}
}

// onPing answers in a form of its own on a RESP2 connection with subscriptions, where every
// message is an array.
func onPing(_ context.Context, c *conn, args [][]byte) error {
	if len(args) > 2 {
		return wire.ErrArity("ping")
	}
	if c.out.Version == 2 && c.subscribed.count() > 0 {
		c.out.Array(2)
		c.out.BulkString("pong")
		if len(args) == 1 {
			args = append(args, nil)
		}
	}
	if len(args) == 1 {
		c.out.Simple("PONG")
		return nil
	}
	c.out.Bulk(args[1])
	return nil
}

func onEcho(_ context.Context, c *conn, args [][]byte) error {
	c.out.Bulk(args[1])
	return nil
}

func onQuit(_ context.Context, c *conn, _ [][]byte) error {
	c.quit = true
	c.out.OK()
	return nil
}

func onReset(_ context.Context, c *conn, _ [][]byte) error {
	c.endBlock()
	c.name, c.readOnly, c.subscribed = "", false, subscriptions{}
	c.muted.set(&c.out, false)
	c.out.Version = 2
	c.setAuthenticated(!c.server.passwordRequired())
	c.out.Simple("RESET")
	return nil
}

func onSelect(_ context.Context, c *conn, args [][]byte) error {
	switch n, err := plan.ParseDatabase(args[1]); {
	case err != nil:
		return err
	case n != 0 && c.server.opts.Cluster:
		return wire.Error("ERR SELECT is not allowed in cluster mode")
	case n != 0:
		return plan.ErrDatabase
	}
	c.out.OK()
	return nil
}

func onTime(_ context.Context, c *conn, _ [][]byte) error {
	micros := c.server.opts.Clock.Now().UnixMicro()
	c.out.Array(2)
	c.out.BulkString(strconv.FormatInt(micros/1e6, 10))
	c.out.BulkString(strconv.FormatInt(micros%1e6, 10))
	return nil
}

// onWait need not wait: what is acknowledged is on a majority.
func onWait(_ context.Context, c *conn, args [][]byte) error {
	if _, ok := wire.ParseNumber(args[1]); !ok {
		return wire.ErrNotInteger
	}
	switch n, ok := wire.ParseNumber(args[2]); {
	case !ok:
		return wire.Error("ERR timeout is not an integer or out of range")
	case n < 0:
		return wire.Error("ERR timeout is negative")
	}
	c.out.Integer(c.server.copies())
	return nil
}

// copies is on how many nodes beside the leader each write is, for the shard that has fewest.
func (s *Server) copies() int64 {
	if s.opts.Topology == nil {
		return 0
	}
	copies := int64(-1)
	for _, shard := range s.opts.Topology.Map().GetShards() {
		voters := int64(0)
		for _, r := range shard.GetReplicas() {
			if !r.GetLearner() {
				voters++
			}
		}
		if n := voters / 2; copies < 0 || n < copies {
			copies = n
		}
	}
	return max(copies, 0)
}

func onRole(_ context.Context, c *conn, _ [][]byte) error {
	c.out.Array(3)
	c.out.BulkString("master")
	c.out.Integer(0)
	c.out.Array(0)
	return nil
}

func onWhoAmI(_ context.Context, c *conn, _ [][]byte) error {
	c.out.BulkString(defaultUser)
	return nil
}

// mute is what CLIENT REPLY asked for.
type mute struct {
	off  bool // no replies until ON
	skip bool // none to the next command
	real io.Writer
}

// begin is called before each command, end after its reply.
func (m *mute) begin(out *wire.Reply) {
	if m.skip && m.real == nil {
		m.silence(out)
	}
	m.skip = false
}

func (m *mute) end(out *wire.Reply) {
	if !m.off && m.real != nil {
		m.restore(out)
	}
}

// set switches replies off or on from here on.
func (m *mute) set(out *wire.Reply, off bool) {
	m.off = off
	switch {
	case off && m.real == nil:
		m.silence(out)
	case !off && m.real != nil:
		m.restore(out)
	}
}

func (m *mute) silence(out *wire.Reply) {
	m.real = out.Redirect(io.Discard)
}

func (m *mute) restore(out *wire.Reply) {
	out.Redirect(m.real)
	m.real = nil
}

// idleSeconds is the time since the connection's last command.
func (c *conn) idleSeconds() uint64 {
	now, last := clock.Millis(c.server.opts.Clock), c.lastMillis.Load()
	return (max(now, last) - last) / uint64(time.Second/time.Millisecond)
}
