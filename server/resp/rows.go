package resp

import (
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// Where the keys of data commands are.
var (
	oneKey   = positions{1, 1, 1}
	twoKeys  = positions{1, 2, 1}
	eachKey  = positions{1, -1, 1}
	eachPair = positions{1, -1, 2}
)

// The flags of data commands. A command that may need memory is denyoom.
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
func inGroup(group string, rows ...*command) []*command {
	for _, row := range rows {
		row.group = group
		more := row.categories
		row.categories = nil
		add := func(category string, ok bool) {
			if ok {
				row.categories = append(row.categories, category)
			}
		}
		add("@keyspace", group == "generic" || group == "server")
		add("@read", slices.Contains(row.flags, "readonly"))
		add("@write", slices.Contains(row.flags, "write"))
		add("@"+group, group == "string" || group == "bitmap")
		fast := slices.Contains(row.flags, "fast")
		add("@fast", fast)
		add("@slow", !fast)
		row.categories = append(row.categories, more...)
	}
	return rows
}

// option is an argument that is a word of the protocol, in lower case. Only ASCII letters have a
// lower case there. What is longer than any word is cut and stays no word.
func option(arg []byte) string {
	var lower [maxNameBytes]byte
	n := copy(lower[:], arg)
	for i, b := range lower[:n] {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	return string(lower[:n])
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

func replyOK(_ env, out *wire.Reply, _ []api.OpResult) error {
	out.OK()
	return nil
}

func replyNumber(_ env, out *wire.Reply, results []api.OpResult) error {
	out.Integer(results[0].Number)
	return nil
}

// replyApplied tells whether the operation was applied.
func replyApplied(_ env, out *wire.Reply, results []api.OpResult) error {
	out.Boolean(results[0].Applied)
	return nil
}

// replyPrevious answers the value that was there before the operation.
func replyPrevious(_ env, out *wire.Reply, results []api.OpResult) error {
	writePrevious(out, &results[0])
	return nil
}

// replyExisted counts the keys that were there.
func replyExisted(_ env, out *wire.Reply, results []api.OpResult) error {
	count := int64(0)
	for i := range results {
		if results[i].Existed {
			count++
		}
	}
	out.Integer(count)
	return nil
}

// writePrevious writes the value that an operation found.
func writePrevious(out *wire.Reply, found *api.OpResult) {
	if !found.Existed {
		out.Null()
		return
	}
	out.Bulk(found.Previous)
}
