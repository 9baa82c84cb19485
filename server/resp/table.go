package resp

import (
	"context"
	"fmt"
	"strings"
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
	plan func(e env, args [][]byte) (plan, error)
	run  func(ctx context.Context, c *conn, args [][]byte) error
	// queued lets a run command stand in a MULTI block; it runs when the block is answered.
	queued bool
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
	readFlags       = []string{"readonly", "fast"}
	writeFlags      = []string{"write", "denyoom"}
	fastWriteFlags  = []string{"write", "fast"}
	inConnection    = []string{"@fast", "@connection"}
	readString      = []string{"@read", "@string", "@fast"}
	writeString     = []string{"@write", "@string", "@fast"}
	readKeyspace    = []string{"@keyspace", "@read", "@fast"}
	writeKeyspace   = []string{"@keyspace", "@write", "@fast"}
)

// commands is the table, in the order of the documentation. It is set by init because COMMAND
// reads it.
var commands []*command

// byName finds a row by its name in lower case.
var byName = make(map[string]*command)

func init() {
	commands = append(connectionCommands(), stringCommands()...)
	commands = append(commands, keyCommands()...)
	for _, c := range commands {
		byName[c.name] = c
	}
}

// maxNameBytes is more than any name has.
const maxNameBytes = 32

// lookup finds a command; names do not mind case.
func lookup(name []byte) *command {
	if len(name) > maxNameBytes {
		return nil
	}
	var lower [maxNameBytes]byte
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		lower[i] = b
	}
	return byName[string(lower[:len(name)])]
}

// maxEchoBytes is how much of an unknown command's arguments its error repeats, as in Redis.
const maxEchoBytes = 128

func errUnknownCommand(args [][]byte) error {
	var b strings.Builder
	for _, arg := range args[1:] {
		if b.Len() >= maxEchoBytes {
			break
		}
		fmt.Fprintf(&b, "'%s' ", arg[:min(len(arg), maxEchoBytes-b.Len())])
	}
	name := args[0][:min(len(args[0]), maxEchoBytes)]
	return replyError(fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", name, b.String()))
}

func errArity(name string) error {
	return replyError("ERR wrong number of arguments for '" + name + "' command")
}

// help answers the subcommand HELP, to which errUnknownSubcommand points.
func (c *conn) help(name string) {
	c.out.array(2)
	c.out.simple(strings.ToUpper(name) + " <subcommand> [<arg> ...]")
	c.out.simple(byName[name].summary)
}

func errUnknownSubcommand(command string, sub []byte) error {
	return replyError(fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.", sub[:min(len(sub), maxEchoBytes)], command))
}
