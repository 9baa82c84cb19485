package plan

import (
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// Row is what the table of commands says of one: what it is called and takes, where its keys are,
// and how it becomes a plan.
type Row struct {
	Name string
	// Arity counts the name; negative means at least.
	Arity int
	Flags []string
	Keys  Keys
	// Categories are those of Redis' access lists.
	Categories []string
	// Group and Since are for COMMAND DOCS: the group of commands, and the version of Redis that
	// had it first.
	Group, Since string
	Summary      string
	// Differs says where the answer is not Redis', and why; empty if it is.
	Differs string
	// Make plans the command. args begin with its name and are as many as Arity wants.
	Make func(e Env, args [][]byte) (Plan, error)
	// Subs are the subcommands of a command that has nothing but them.
	Subs []*Row
}

// Keys are the positions of the keys among the arguments, as COMMAND gives them; 0 for none, a
// negative Last counts from the end.
type Keys struct{ First, Last, Step int }

// Rows are all commands on named keys, in the order of the documentation.
func Rows() []*Row {
	return slices.Concat(valueRows(), counterRows(), rangeRows(), lcsRows(), bitRows(), keyRows(), expiryRows(), objectRows())
}

// Where the keys of the rows are.
var (
	oneKey   = Keys{1, 1, 1}
	twoKeys  = Keys{1, 2, 1}
	eachKey  = Keys{1, -1, 1}
	eachPair = Keys{1, -1, 2}
)

// The flags of the rows. A command that may need memory is denyoom.
var (
	reads      = []string{"readonly"}
	readsFast  = []string{"readonly", "fast"}
	writes     = []string{"write", "denyoom"}
	writesFast = []string{"write", "denyoom", "fast"}
	alters     = []string{"write"}
	altersFast = []string{"write", "fast"}
)

// inGroup completes rows: their group, and the categories that follow from it and from their
// flags, in the order in which Redis gives them.
func inGroup(group string, rows ...*Row) []*Row {
	for _, row := range rows {
		row.Group = group
		more := row.Categories
		row.Categories = nil
		add := func(category string, ok bool) {
			if ok {
				row.Categories = append(row.Categories, category)
			}
		}
		add("@keyspace", group == "generic" || group == "server")
		add("@read", slices.Contains(row.Flags, "readonly"))
		add("@write", slices.Contains(row.Flags, "write"))
		add("@"+group, group == "string" || group == "bitmap")
		fast := slices.Contains(row.Flags, "fast")
		add("@fast", fast)
		add("@slow", !fast)
		row.Categories = append(row.Categories, more...)
	}
	return rows
}

// looksAt reads what there is to know about a key but its value, which the batch of a MULTI block
// would have to carry.
func looksAt(key []byte) api.Op { return api.Op{Kind: api.OpGet, Key: key} }

// readsValue reads a key.
func readsValue(key []byte) api.Op {
	return api.Op{Kind: api.OpGet, Key: key, ReturnPrevious: true}
}

// onEach is op on each of the keys.
func onEach(op api.Op, keys [][]byte) []api.Op {
	ops := make([]api.Op, len(keys))
	for i, key := range keys {
		ops[i] = op
		ops[i].Key = key
	}
	return ops
}

// Replies that many commands share. Those about one operation look at the first: the rest of a
// step was applied or not as it was.

func replyOK(_ Env, out *wire.Reply, _ []api.OpResult) error {
	out.OK()
	return nil
}

func replyNumber(_ Env, out *wire.Reply, results []api.OpResult) error {
	out.Integer(results[0].Number)
	return nil
}

// replyApplied tells whether the operation was applied.
func replyApplied(_ Env, out *wire.Reply, results []api.OpResult) error {
	out.Boolean(results[0].Applied)
	return nil
}

// replyPrevious answers the value that was there before the operation.
func replyPrevious(e Env, out *wire.Reply, results []api.OpResult) error {
	return writePrevious(e, out, 0, &results[0])
}

// replyExisted counts the keys that were there.
func replyExisted(_ Env, out *wire.Reply, results []api.OpResult) error {
	count := int64(0)
	for i := range results {
		if results[i].Existed {
			count++
		}
	}
	out.Integer(count)
	return nil
}

// writePrevious writes the value that an operation found, and drops it, because the rest of the reply
// may wait for a slow client.
func writePrevious(e Env, out *wire.Reply, op int, found *api.OpResult) error {
	if !found.Existed {
		out.Null()
		return nil
	}
	if wrote, err := writePieces(e, out, op, 0, found.Number); wrote || err != nil {
		return err
	}
	out.Bulk(found.Previous)
	found.Previous = nil
	return nil
}

// writePieces writes the bytes [start, end) of a value that was not brought; wrote is false if it was.
func writePieces(e Env, out *wire.Reply, op int, start, end int64) (wrote bool, err error) {
	if e.Open == nil || start >= end {
		return false, nil
	}
	pieces, err := e.Open(op, uint64(start), uint64(end))
	if err != nil || pieces == nil {
		return false, err
	}
	defer pieces.Close()
	return true, out.BulkPieces(end-start, pieces)
}
