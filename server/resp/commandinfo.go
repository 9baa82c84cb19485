package resp

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/lightning-db/lightning/server/resp/glob"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// commandSubcommands are those of COMMAND, which describe the table to clients.
func commandSubcommands() []*command {
	row := func(name string, arity int, since, summary string, run func(context.Context, *conn, [][]byte) error) *command {
		return &command{name: name, arity: arity, flags: []string{"loading", "stale"}, categories: []string{"@slow", "@connection"},
			since: since, summary: summary, run: run, queued: true}
	}
	return []*command{
		row("count", 2, "2.8.13", "how many commands there are", func(_ context.Context, c *conn, _ [][]byte) error { c.out.Integer(int64(len(commands))); return nil }),
		row("info", -2, "2.8.13", "arity, flags and keys of commands", onCommandInfo),
		row("docs", -2, "7.0.0", "what commands do", onCommandDocs),
		row("list", -2, "7.0.0", "the names of commands; FILTERBY", onCommandList),
		row("getkeys", -4, "2.8.13", "the keys in a command", onCommandKeys(false)),
		row("getkeysandflags", -4, "7.0.0", "the keys in a command and what it does with them", onCommandKeys(true)),
	}
}

// onCommand describes the whole table.
func onCommand(_ context.Context, c *conn, _ [][]byte) error {
	c.out.Array(len(commands))
	c.commandInfo(commands)
	return nil
}

func onCommandInfo(_ context.Context, c *conn, args [][]byte) error {
	list := commands
	if len(args) > 2 {
		list = make([]*command, 0, len(args)-2)
		for _, name := range args[2:] {
			list = append(list, findNamed(name))
		}
	}
	c.out.Array(len(list))
	c.commandInfo(list)
	return nil
}

// onCommandList names the commands and subcommands, all of them or those that FILTERBY chooses.
func onCommandList(_ context.Context, c *conn, args [][]byte) error {
	chosen, err := filterBy(args[2:])
	if err != nil {
		return err
	}
	var list []string
	for _, cmd := range commands {
		for _, row := range append([]*command{cmd}, cmd.subs...) {
			ok, err := chosen(row)
			if err != nil {
				return err
			}
			if ok {
				list = append(list, row.name)
			}
		}
	}
	c.out.Array(len(list))
	for _, name := range list {
		c.out.BulkString(name)
	}
	return nil
}

// filterBy reads FILTERBY MODULE name, ACLCAT category or PATTERN glob, or nothing.
func filterBy(args [][]byte) (func(*command) (bool, error), error) {
	if len(args) == 0 {
		return func(cmd *command) (bool, error) { return !strings.Contains(cmd.name, "|"), nil }, nil
	}
	if len(args) != 3 || wire.Option(args[0]) != "filterby" {
		return nil, wire.ErrSyntax
	}
	switch wire.Option(args[1]) {
	case "module": // there are none
		return func(*command) (bool, error) { return false, nil }, nil
	case "aclcat":
		category := "@" + wire.Option(args[2])
		return func(cmd *command) (bool, error) { return slices.Contains(cmd.categories, category), nil }, nil
	case "pattern":
		pattern := glob.New(bytes.ToLower(args[2])) // names are in lower case, and do not mind it
		return func(cmd *command) (bool, error) { return pattern.Match([]byte(cmd.name)) }, nil
	}
	return nil, wire.ErrSyntax
}

// commandInfo writes rows as Redis 7 does; nil stands for a command that does not exist.
func (c *conn) commandInfo(list []*command) {
	for _, cmd := range list {
		if cmd == nil {
			c.out.Null()
			continue
		}
		c.out.Array(10)
		c.out.BulkString(cmd.name)
		c.out.Integer(int64(cmd.arity))
		c.names(cmd.flags)
		c.out.Integer(int64(cmd.firstKey))
		c.out.Integer(int64(cmd.lastKey))
		c.out.Integer(int64(cmd.keyStep))
		c.names(cmd.categories)
		tips := tipsOf[cmd.name]
		c.out.Set(len(tips))
		for _, tip := range tips {
			c.out.BulkString(tip)
		}
		specs := cmd.keySpecs()
		c.out.Set(len(specs))
		for _, spec := range specs {
			c.keySpec(spec)
		}
		c.out.Set(len(cmd.subs))
		c.commandInfo(cmd.subs)
	}
}

func (c *conn) names(names []string) {
	c.out.Set(len(names))
	for _, name := range names {
		c.out.Simple(name)
	}
}

// keySpec is a run of keys and what a command does with them.
type keySpec struct {
	access []string
	// first is the place of the first key, last that of the last one counted from it, or -1 for
	// the last argument.
	first, last, step int
}

// keySpecs are the runs of keys of a command: one, unless it treats its first key and its
// second in different ways.
func (c *command) keySpecs() []keySpec {
	if c.firstKey == 0 {
		return nil
	}
	runs := accessOf[c.name]
	if len(runs) > 1 {
		specs := make([]keySpec, len(runs))
		for i, run := range runs {
			specs[i] = keySpec{strings.Fields(run), c.firstKey + i*c.keyStep, 0, 1}
		}
		return specs
	}
	spec := keySpec{first: c.firstKey, last: c.lastKey, step: c.keyStep}
	for _, run := range runs {
		spec.access = strings.Fields(run)
	}
	if spec.last > 0 {
		spec.last -= spec.first
	}
	return []keySpec{spec}
}

func (c *conn) keySpec(spec keySpec) {
	c.out.Dict(3)
	c.out.BulkString("flags")
	c.names(spec.access)
	c.out.BulkString("begin_search")
	c.out.Dict(2)
	c.out.BulkString("type")
	c.out.BulkString("index")
	c.out.BulkString("spec")
	c.out.Dict(1)
	c.out.BulkString("index")
	c.out.Integer(int64(spec.first))
	c.out.BulkString("find_keys")
	c.out.Dict(2)
	c.out.BulkString("type")
	c.out.BulkString("range")
	c.out.BulkString("spec")
	c.out.Dict(3)
	c.out.BulkString("lastkey")
	c.out.Integer(int64(spec.last))
	c.out.BulkString("keystep")
	c.out.Integer(int64(spec.step))
	c.out.BulkString("limit")
	c.out.Integer(0)
}

// onCommandDocs says what commands do. Names that do not exist are left out.
func onCommandDocs(_ context.Context, c *conn, args [][]byte) error {
	list := commands
	if len(args) > 2 {
		list = nil
		for _, name := range args[2:] {
			if cmd := findNamed(name); cmd != nil {
				list = append(list, cmd)
			}
		}
	}
	c.commandDocs(list)
	return nil
}

func (c *conn) commandDocs(list []*command) {
	c.out.Dict(len(list))
	for _, cmd := range list {
		c.out.BulkString(cmd.name)
		fields := []string{"summary", cmd.summary, "since", cmd.since, "group", cmd.group, "complexity", cmd.complexity()}
		if len(cmd.subs) > 0 {
			c.out.Dict(len(fields)/2 + 1)
		} else {
			c.out.Dict(len(fields) / 2)
		}
		for _, text := range fields {
			c.out.BulkString(text)
		}
		if len(cmd.subs) > 0 {
			c.out.BulkString("subcommands")
			c.commandDocs(cmd.subs)
		}
	}
}

// onCommandKeys answers GETKEYS, and with flags GETKEYSANDFLAGS.
func onCommandKeys(flags bool) func(context.Context, *conn, [][]byte) error {
	return func(_ context.Context, c *conn, args [][]byte) error {
		args = args[2:]
		cmd, err := find(args)
		switch {
		case err != nil:
			return wire.Error("ERR Invalid command specified")
		case cmd.firstKey == 0:
			return wire.Error("ERR The command has no key arguments")
		case !cmd.accepts(len(args)):
			return wire.Error("ERR Invalid number of arguments specified for command")
		}
		keys := cmd.keys(args)
		if len(keys) == 0 {
			return wire.Error("ERR The command has no key arguments")
		}
		specs := cmd.keySpecs()
		c.out.Array(len(keys))
		for i, key := range keys {
			if !flags {
				c.out.Bulk(key)
				continue
			}
			c.out.Array(2)
			c.out.Bulk(key)
			c.names(accessIn(cmd, specs[min(i, len(specs)-1)], args))
		}
		return nil
	}
}

// accessIn is what a command does with a key given its arguments: SET reads only with GET.
func accessIn(cmd *command, spec keySpec, args [][]byte) []string {
	switch {
	case !slices.Contains(spec.access, "variable_flags"):
		return spec.access
	case slices.ContainsFunc(args[3:], func(arg []byte) bool { return cmd.name == "set" && wire.Option(arg) == "get" }):
		return []string{"RW", "access", "update"}
	}
	return []string{"OW", "update"}
}
