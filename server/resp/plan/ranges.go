package plan

import (
	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

func rangeRows() []*Row {
	shorter := "it takes and makes values of at most " + whole + " (Redis: 512 MiB)"
	return inGroup("string",
		&Row{Name: "append", Arity: 3, Flags: writesFast, Keys: oneKey, Since: "2.0.0", Summary: "puts bytes behind a value", Make: planAppend, Differs: shorter},
		&Row{Name: "strlen", Arity: 2, Flags: readsFast, Keys: oneKey, Since: "2.2.0", Summary: "the length of a value", Make: planStrLen},
		&Row{Name: "getrange", Arity: 4, Flags: reads, Keys: oneKey, Since: "2.4.0", Summary: "a part of a value", Make: planGetRange},
		&Row{Name: "substr", Arity: 4, Flags: reads, Keys: oneKey, Since: "1.0.0", Summary: "as GETRANGE", Make: planGetRange},
		&Row{Name: "setrange", Arity: 4, Flags: writes, Keys: oneKey, Since: "2.2.0", Summary: "writes over a part of a value", Make: planSetRange, Differs: shorter},
	)
}

func planAppend(_ Env, args [][]byte) (Plan, error) {
	op := api.Op{Kind: api.OpAppend, Key: args[1], Value: args[2]}
	return Plan{Ops: []api.Op{op}, reply: replyNumber}, nil
}

func planStrLen(_ Env, args [][]byte) (Plan, error) {
	return Plan{Ops: []api.Op{looksAt(args[1])}, reply: replyNumber}, nil
}

func planGetRange(_ Env, args [][]byte) (Plan, error) {
	first, ok := wire.ParseNumber(args[2])
	last, ok2 := wire.ParseNumber(args[3])
	if !ok || !ok2 {
		return Plan{}, wire.ErrNotInteger
	}
	return Plan{Ops: []api.Op{readsValue(args[1])}, Piecewise: true, reply: func(e Env, out *wire.Reply, results []api.OpResult) error {
		start, end := resolveRange(first, last, results[0].Number)
		if start >= end || backwards(first, last) {
			out.Bulk(nil)
			return nil
		}
		if wrote, err := writePieces(e, out, 0, start, end); wrote || err != nil {
			return err
		}
		out.Bulk(results[0].Previous[start:end])
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

func planSetRange(_ Env, args [][]byte) (Plan, error) {
	offset, ok := wire.ParseNumber(args[2])
	switch {
	case !ok:
		return Plan{}, wire.ErrNotInteger
	case offset < 0:
		return Plan{}, wire.Error("ERR offset is out of range")
	case len(args[3]) == 0:
		return planStrLen(Env{}, args)
	}
	op := api.Op{Kind: api.OpSetRange, Key: args[1], Value: args[3], Offset: uint64(offset)}
	return Plan{Ops: []api.Op{op}, reply: replyNumber}, nil
}
