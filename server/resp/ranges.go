package resp

import (
	"github.com/lightning-db/lightning/api"

	"github.com/lightning-db/lightning/server/resp/wire"
)

func rangeCommands() []*command {
	return inGroup("string",
		&command{name: "append", arity: 3, flags: writesFast, positions: oneKey, since: "2.0.0", summary: "puts bytes behind a value", plan: planAppend},
		&command{name: "strlen", arity: 2, flags: readsFast, positions: oneKey, since: "2.2.0", summary: "the length of a value", plan: planStrLen},
		&command{name: "getrange", arity: 4, flags: reads, positions: oneKey, since: "2.4.0", summary: "a part of a value", plan: planGetRange},
		&command{name: "substr", arity: 4, flags: reads, positions: oneKey, since: "1.0.0", summary: "as GETRANGE", plan: planGetRange},
		&command{name: "setrange", arity: 4, flags: writes, positions: oneKey, since: "2.2.0", summary: "writes over a part of a value", plan: planSetRange},
	)
}

func planAppend(_ env, args [][]byte) (plan, error) {
	op := api.Op{Kind: api.OpAppend, Key: args[1], Value: args[2]}
	return plan{ops: []api.Op{op}, reply: replyNumber}, nil
}

func planStrLen(_ env, args [][]byte) (plan, error) {
	return plan{ops: []api.Op{looksAt(args[1])}, reply: replyNumber}, nil
}

func planGetRange(_ env, args [][]byte) (plan, error) {
	first, ok := wire.ParseNumber(args[2])
	last, ok2 := wire.ParseNumber(args[3])
	if !ok || !ok2 {
		return plan{}, errNotInteger
	}
	return plan{ops: []api.Op{readsValue(args[1])}, reply: func(_ env, out *wire.Reply, results []api.OpResult) error {
		value := results[0].Previous
		start, end := resolveRange(first, last, int64(len(value)))
		if start >= end || backwards(first, last) {
			start, end = 0, 0
		}
		out.Bulk(value[start:end])
		return nil
	}}, nil
}

// backwards reports whether both ends count from the end of the value, in the wrong order. Most
// commands look at that before they cut the range to the value, which might hide it.
func backwards(first, last int64) bool { return first < 0 && last < 0 && first > last }

// resolveRange makes a half-open range within length of Redis' closed one, whose ends count from
// the end when they are negative. It is empty when start >= end.
func resolveRange(first, last, length int64) (start, end int64) {
	if first < 0 {
		first = max(first+length, 0)
	}
	if last < 0 {
		last = max(last+length, 0)
	}
	return min(first, length), min(last, length-1) + 1
}

func planSetRange(_ env, args [][]byte) (plan, error) {
	offset, ok := wire.ParseNumber(args[2])
	switch {
	case !ok:
		return plan{}, errNotInteger
	case offset < 0:
		return plan{}, wire.Error("ERR offset is out of range")
	case len(args[3]) == 0:
		return planStrLen(env{}, args)
	}
	op := api.Op{Kind: api.OpSetRange, Key: args[1], Value: args[3], Offset: uint64(offset)}
	return plan{ops: []api.Op{op}, reply: replyNumber}, nil
}
