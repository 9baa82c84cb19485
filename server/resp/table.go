package resp

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lightning-db/lightning/server/resp/plan"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// command is one row of the table: what the command is called and takes, where its keys are,
// and who runs it. COMMAND and docs/commands.md are made from it.
type command struct {
	name string
	// arity counts the name; negative means at least.
	arity int
	flags []string
	positions
	categories []string
	// group and since are for COMMAND DOCS: the group of commands, and the version of Redis that
	// had it first.
	group, since string
	summary      string
	// differs says where the answer is not Redis', and why; empty if it is.
	differs string
	// Exactly one of plan and run is set. plan is for commands on keys that are named; run for
	// those about the connection, the node or all keys.
	plan func(e plan.Env, args [][]byte) (plan.Plan, error)
	run  func(ctx context.Context, c *conn, args [][]byte) error
	// queued lets a run command stand in a MULTI block; it runs when the block is answered.
	queued bool
	// subs are the subcommands. A row that has them takes one as its first argument; on its own it
	// runs only if run is set and arity allows it.
	subs []*command
	// index counts rows and subcommands, for statistics; set by init.
	index int
}

// positions are where the keys are among the arguments, as COMMAND gives them; 0 for none.
type positions struct{ firstKey, lastKey, keyStep int }

func (c *command) accepts(count int) bool {
	if c.arity < 0 {
		return count >= -c.arity
	}
	return count == c.arity
}

// keys are the arguments that are keys; args has passed accepts.
func (c *command) keys(args [][]byte) [][]byte {
	if c.firstKey == 0 {
		return nil
	}
	last := c.lastKey
	if last < 0 {
		last += len(args)
	}
	var keys [][]byte
	for i := c.firstKey; i <= last && i < len(args); i += c.keyStep {
		keys = append(keys, args[i])
	}
	return keys
}

// unknownName is what the observer is told of a command that does not exist, so that clients
// cannot make up metrics.
const unknownName = "unknown"

// Flags and categories that many rows share.
var (
	connectionFlags = []string{"noscript", "loading", "stale", "fast"}
	inConnection    = []string{"@fast", "@connection"}
)

// commands is the table, in the order of the documentation. It is set by init because COMMAND
// reads it.
var commands []*command

// byName finds a row by its name in lower case; a subcommand's is "client|id".
var byName = make(map[string]*command)

func init() {
	commands = slices.Concat(connectionCommands(), clientCommands(), serverCommands(), clusterCommands(),
		pubsubCommands(), transactionCommands(), planned(plan.Rows()), keyspaceCommands())
	for _, c := range commands {
		addRow(c)
	}
}

func addRow(c *command) {
	c.index = len(byName)
	byName[c.name] = c
	for _, sub := range c.subs {
		sub.name = c.name + "|" + sub.name
		if sub.group == "" {
			sub.group = c.group
		}
		addRow(sub)
	}
}

// container makes a row of its subcommands, which are named without it, and adds HELP.
func container(row command, subs ...*command) *command {
	categories := []string{"@slow"}
	switch {
	case row.group == "connection" || row.name == "command":
		categories = append(categories, "@connection")
	case row.group == "generic":
		categories = []string{"@keyspace", "@slow"}
	}
	row.subs = append(subs, &command{
		name: "help", arity: 2, flags: []string{"loading", "stale"}, categories: categories, since: row.since,
		summary: "lists the subcommands", queued: true,
		run: func(_ context.Context, c *conn, _ [][]byte) error { c.help(row.name); return nil },
	})
	return &row
}

// lookup finds a command; names do not mind case.
func lookup(name []byte) *command { return lookupBelow("", name) }

// lookupBelow finds a subcommand of the command with the name and bar before it.
func lookupBelow(parent string, name []byte) *command {
	var buf [2 * wire.MaxWordBytes]byte
	lower := append(buf[:0], parent...)
	if len(name) > wire.MaxWordBytes {
		return nil
	}
	for _, b := range name {
		switch {
		case 'A' <= b && b <= 'Z':
			b += 'a' - 'A'
		case b == '|':
			return nil // only COMMAND names a subcommand so
		}
		lower = append(lower, b)
	}
	return byName[string(lower)]
}

// find is the command or subcommand that a request names. When there is none it says so and
// returns what it did find.
func find(args [][]byte) (*command, error) {
	cmd := lookup(args[0])
	switch {
	case cmd == nil:
		return nil, errUnknownCommand(args)
	case len(cmd.subs) == 0 || len(args) == 1:
		return cmd, nil
	}
	sub := lookupBelow(cmd.name+"|", args[1])
	if sub == nil {
		return cmd, errUnknownSubcommand(strings.ToUpper(cmd.name), args[1])
	}
	return sub, nil
}

// findNamed finds what COMMAND INFO and DOCS name: a command, or a subcommand as "client|id".
func findNamed(name []byte) *command {
	parent, sub, isSub := bytes.Cut(name, []byte("|"))
	cmd := lookup(parent)
	if cmd == nil || !isSub {
		return cmd
	}
	return lookupBelow(cmd.name+"|", sub)
}

func errUnknownCommand(args [][]byte) error {
	var b strings.Builder
	for _, arg := range args[1:] {
		if b.Len() >= wire.MaxEchoBytes {
			break
		}
		fmt.Fprintf(&b, "'%s' ", untilZero(arg[:min(len(arg), wire.MaxEchoBytes-b.Len())]))
	}
	name := untilZero(args[0][:min(len(args[0]), wire.MaxEchoBytes)])
	return wire.Error(fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", name, b.String()))
}

// untilZero is what Redis echoes of an argument: its bytes before the first zero.
func untilZero(arg []byte) []byte {
	text, _, _ := bytes.Cut(arg, []byte{0})
	return text
}

// help answers the subcommand HELP, to which errUnknownSubcommand points.
func (c *conn) help(name string) {
	subs := byName[name].subs
	c.out.Array(1 + 2*len(subs))
	c.out.Simple(strings.ToUpper(name) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for _, sub := range subs {
		_, own, _ := strings.Cut(sub.name, "|")
		c.out.Simple(strings.ToUpper(own))
		c.out.Simple("    " + sub.summary)
	}
}

func errUnknownSubcommand(command string, sub []byte) error {
	return wire.Error(fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.", sub[:min(len(sub), wire.MaxEchoBytes)], command))
}

// planned makes rows of those that have plans.
func planned(rows []*plan.Row) []*command {
	list := make([]*command, 0, len(rows))
	for _, row := range rows {
		c := command{
			name: row.Name, arity: row.Arity, flags: row.Flags, positions: positions{row.Keys.First, row.Keys.Last, row.Keys.Step},
			categories: row.Categories, group: row.Group, since: row.Since, summary: row.Summary, differs: row.Differs, plan: row.Make,
		}
		if len(row.Subs) > 0 {
			c = *container(c, planned(row.Subs)...)
		}
		list = append(list, &c)
	}
	return list
}
