package resp

import (
	"bytes"
	"context"
	"slices"
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
		if len(args) != 2 {
			return errArity("command|count")
		}
		c.out.integer(int64(len(commands)))
	case "help":
		if len(args) != 2 {
			return errArity("command|help")
		}
		c.help("command")
	case "docs":
		c.out.dict(0)
	case "list":
		return c.commandList(args[2:])
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

// commandList names the commands, all of them or those that FILTERBY chooses.
func (c *conn) commandList(args [][]byte) error {
	chosen, err := filterBy(args)
	if err != nil {
		return err
	}
	var list []string
	for _, cmd := range commands {
		ok, err := chosen(cmd)
		if err != nil {
			return err
		}
		if ok {
			list = append(list, cmd.name)
		}
	}
	c.out.array(len(list))
	for _, name := range list {
		c.out.bulkString(name)
	}
	return nil
}

// filterBy reads FILTERBY MODULE name, ACLCAT category or PATTERN glob, or nothing.
func filterBy(args [][]byte) (func(*command) (bool, error), error) {
	if len(args) == 0 {
		return func(*command) (bool, error) { return true, nil }, nil
	}
	if len(args) != 3 || !strings.EqualFold(string(args[0]), "filterby") {
		return nil, errSyntax
	}
	switch strings.ToLower(string(args[1])) {
	case "module": // there are none
		return func(*command) (bool, error) { return false, nil }, nil
	case "aclcat":
		category := "@" + strings.ToLower(string(args[2]))
		return func(cmd *command) (bool, error) { return slices.Contains(cmd.categories, category), nil }, nil
	case "pattern":
		pattern := newGlob(bytes.ToLower(args[2])) // names are in lower case, and do not mind it
		return func(cmd *command) (bool, error) { return pattern.match([]byte(cmd.name)) }, nil
	}
	return nil, errSyntax
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
