package resp

import (
	"context"
	"strings"
)

// onCommand describes the table to clients.
func onCommand(_ context.Context, c *conn, args [][]byte) error {
	if len(args) == 1 {
		c.commandInfo(commands)
		return nil
	}
	switch strings.ToLower(string(args[1][:min(len(args[1]), maxNameBytes)])) {
	case "count":
		c.out.integer(int64(len(commands)))
	case "docs":
		c.out.dict(0)
	case "list":
		c.out.array(len(commands))
		for _, cmd := range commands {
			c.out.bulkString(cmd.name)
		}
	case "info":
		list := commands
		if len(args) > 2 {
			list = make([]*command, 0, len(args)-2)
			for _, name := range args[2:] {
				list = append(list, lookup(name))
			}
		}
		c.commandInfo(list)
	case "getkeys":
		return c.commandKeys(args[2:])
	default:
		return errUnknownSubcommand("COMMAND", args[1])
	}
	return nil
}

// commandInfo writes rows as Redis 7 does; nil stands for a command that does not exist.
func (c *conn) commandInfo(list []*command) {
	c.out.array(len(list))
	for _, cmd := range list {
		if cmd == nil {
			c.out.nullArray()
			continue
		}
		c.out.array(10)
		c.out.bulkString(cmd.name)
		c.out.integer(int64(cmd.arity))
		c.names(cmd.flags)
		c.out.integer(int64(cmd.firstKey))
		c.out.integer(int64(cmd.lastKey))
		c.out.integer(int64(cmd.keyStep))
		c.names(cmd.categories)
		c.out.set(0)   // tips
		c.out.set(0)   // key specifications: the positions above say all
		c.out.array(0) // subcommands
	}
}

func (c *conn) names(names []string) {
	c.out.set(len(names))
	for _, name := range names {
		c.out.simple(name)
	}
}

func (c *conn) commandKeys(args [][]byte) error {
	if len(args) == 0 {
		return errArity("command|getkeys")
	}
	cmd := lookup(args[0])
	switch {
	case cmd == nil:
		return replyError("ERR Invalid command specified")
	case !cmd.accepts(len(args)):
		return replyError("ERR Invalid number of arguments specified for command")
	}
	keys := cmd.keys(args)
	if len(keys) == 0 {
		return replyError("ERR The command has no key arguments")
	}
	c.out.array(len(keys))
	for _, key := range keys {
		c.out.bulk(key)
	}
	return nil
}
