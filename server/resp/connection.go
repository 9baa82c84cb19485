package resp

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// redisVersion is the version of Redis whose behaviour the commands follow; clients switch
// features on by it.
const redisVersion = "7.2.0"

func connectionCommands() []*command {
	return []*command{
		{name: "ping", arity: -1, flags: []string{"fast"}, categories: inConnection, summary: "answers PONG, or its argument", run: onPing},
		{name: "echo", arity: 2, flags: []string{"loading", "stale", "fast"}, categories: inConnection, summary: "answers its argument", run: onEcho},
		{name: "hello", arity: -1, flags: append(connectionFlags, "no_auth", "allow_busy"), categories: inConnection, summary: "chooses the version of the protocol; there are no users to AUTH as yet", run: onHello},
		{name: "auth", arity: -2, flags: append(connectionFlags, "no_auth", "allow_busy"), categories: inConnection, summary: "refused: there are no users yet", run: onAuth},
		{name: "select", arity: 2, flags: []string{"loading", "stale", "fast"}, categories: inConnection, summary: "only database 0 exists", run: onSelect},
		{name: "client", arity: -2, categories: []string{"@slow", "@connection"}, summary: "ID, INFO, LIST (this connection), GETNAME, SETNAME, SETINFO, NO-EVICT, NO-TOUCH", run: onClient},
		{name: "quit", arity: -1, flags: append(connectionFlags, "no_auth", "allow_busy"), categories: inConnection, summary: "ends the connection", run: onQuit},
		{name: "reset", arity: 1, flags: append(connectionFlags, "no_auth", "allow_busy"), categories: inConnection, summary: "back to a fresh connection's state", run: onReset},
		{name: "command", arity: -1, flags: []string{"loading", "stale"}, categories: []string{"@slow", "@connection"}, summary: "the table of commands: COUNT, INFO, LIST, GETKEYS, DOCS (empty)", run: onCommand},
		{name: "info", arity: -1, flags: []string{"loading", "stale"}, categories: []string{"@slow", "@dangerous"}, summary: "facts about this node; the section keyspace counts all keys", run: onInfo},
		{name: "cluster", arity: -2, categories: []string{"@slow"}, summary: "answers that cluster support is disabled, as on a single Redis", run: onCluster},
	}
}

func onPing(_ context.Context, c *conn, args [][]byte) error {
	switch len(args) {
	case 1:
		c.out.simple("PONG")
	case 2:
		c.out.bulk(args[1])
	default:
		return errArity("ping")
	}
	return nil
}

func onEcho(_ context.Context, c *conn, args [][]byte) error {
	c.out.bulk(args[1])
	return nil
}

func onQuit(_ context.Context, c *conn, _ [][]byte) error {
	c.quit = true
	c.out.ok()
	return nil
}

func onReset(_ context.Context, c *conn, _ [][]byte) error {
	c.name = ""
	c.out.version = 2
	c.out.simple("RESET")
	return nil
}

func onSelect(_ context.Context, c *conn, args [][]byte) error {
	switch n, ok := parseNumber(args[1]); {
	case !ok:
		return errNotInteger
	case n != 0:
		return replyError("ERR DB index is out of range")
	}
	c.out.ok()
	return nil
}

func onAuth(_ context.Context, _ *conn, args [][]byte) error {
	switch len(args) {
	case 2:
		return replyError("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	case 3:
		return errWrongPassword
	}
	return errSyntax
}

const errWrongPassword = replyError("WRONGPASS invalid username-password pair or user is disabled.")

func onCluster(_ context.Context, _ *conn, _ [][]byte) error {
	return replyError("ERR This instance has cluster support disabled")
}

// onHello changes nothing unless all of its options are right.
func onHello(_ context.Context, c *conn, args [][]byte) error {
	version, name := c.out.version, c.name
	if len(args) > 1 {
		n, ok := parseNumber(args[1])
		switch {
		case !ok:
			return replyError("ERR Protocol version is not an integer or out of range")
		case n < 2 || n > 3:
			return replyError("NOPROTO unsupported protocol version")
		}
		version = int(n)
	}
	for i := 2; i < len(args); {
		switch option := strings.ToLower(string(args[i])); {
		case option == "auth" && i+2 < len(args):
			return errWrongPassword
		case option == "setname" && i+1 < len(args):
			if !validName(args[i+1]) {
				return errClientName
			}
			name = string(args[i+1])
			i += 2
		default:
			return replyError(fmt.Sprintf("ERR Syntax error in HELLO option '%s'", args[i][:min(len(args[i]), maxEchoBytes)]))
		}
	}
	c.out.version, c.name = version, name
	c.out.dict(7)
	c.out.bulkString("server")
	c.out.bulkString("redis")
	c.out.bulkString("version")
	c.out.bulkString(redisVersion)
	c.out.bulkString("proto")
	c.out.integer(int64(version))
	c.out.bulkString("id")
	c.out.integer(c.id)
	c.out.bulkString("mode")
	c.out.bulkString("standalone")
	c.out.bulkString("role")
	c.out.bulkString("master")
	c.out.bulkString("modules")
	c.out.array(0)
	return nil
}

const errClientName = replyError("ERR Client names cannot contain spaces, newlines or special characters.")

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

// clientCommands are the subcommands of CLIENT with their arity, CLIENT included.
var clientCommands = map[string]struct {
	arity int
	run   func(c *conn, args [][]byte) error
}{
	"id":       {2, func(c *conn, _ [][]byte) error { c.out.integer(c.id); return nil }},
	"info":     {2, func(c *conn, _ [][]byte) error { c.out.text(c.describe()); return nil }},
	"list":     {-2, func(c *conn, _ [][]byte) error { c.out.text(c.describe()); return nil }},
	"getname":  {2, onClientGetName},
	"setname":  {3, onClientSetName},
	"setinfo":  {4, onClientSetInfo},
	"help":     {2, func(c *conn, _ [][]byte) error { c.help("client"); return nil }},
	"no-evict": {3, onClientSwitch},
	"no-touch": {3, onClientSwitch},
}

func onClient(_ context.Context, c *conn, args [][]byte) error {
	sub := strings.ToLower(string(args[1][:min(len(args[1]), maxNameBytes)]))
	cmd, ok := clientCommands[sub]
	if !ok {
		return errUnknownSubcommand("CLIENT", args[1])
	}
	if cmd.arity > 0 && len(args) != cmd.arity {
		return errArity("client|" + sub)
	}
	return cmd.run(c, args)
}

func onClientGetName(c *conn, _ [][]byte) error {
	if c.name == "" {
		c.out.null()
		return nil
	}
	c.out.bulkString(c.name)
	return nil
}

func onClientSetName(c *conn, args [][]byte) error {
	if !validName(args[2]) {
		return errClientName
	}
	c.name = string(args[2])
	c.out.ok()
	return nil
}

// onClientSetInfo takes what libraries say of themselves; nobody asks for it.
func onClientSetInfo(c *conn, args [][]byte) error {
	switch strings.ToLower(string(args[2][:min(len(args[2]), maxNameBytes)])) {
	case "lib-name", "lib-ver":
	default:
		return replyError(fmt.Sprintf("ERR Unrecognized option '%s'", args[2][:min(len(args[2]), maxEchoBytes)]))
	}
	if !validName(args[3]) {
		return replyError("ERR " + strings.ToLower(string(args[2])) + " cannot contain spaces, newlines or special characters.")
	}
	c.out.ok()
	return nil
}

// onClientSwitch accepts switches for what we do not do: evict, and track recent use.
func onClientSwitch(c *conn, args [][]byte) error {
	switch strings.ToLower(string(args[2][:min(len(args[2]), maxNameBytes)])) {
	case "on", "off":
		c.out.ok()
		return nil
	}
	return errSyntax
}

// describe is the connection's line in CLIENT LIST.
func (c *conn) describe() string {
	age := c.server.opts.Clock.Now().Sub(c.since) / time.Second
	return fmt.Sprintf("id=%d addr=%s laddr=%s name=%s age=%d idle=0 flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 user=default resp=%d\n",
		c.id, c.net.RemoteAddr(), c.net.LocalAddr(), c.name, age, c.out.version)
}
