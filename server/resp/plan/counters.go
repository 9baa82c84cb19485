package plan

import (
	"math"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

func counterRows() []*Row {
	return inGroup("string",
		&Row{Name: "incr", Arity: 2, Flags: writesFast, Keys: oneKey, Since: "1.0.0", Summary: "adds one to an integer", Make: planIncr},
		&Row{Name: "decr", Arity: 2, Flags: writesFast, Keys: oneKey, Since: "1.0.0", Summary: "subtracts one from an integer", Make: planDecr},
		&Row{Name: "incrby", Arity: 3, Flags: writesFast, Keys: oneKey, Since: "1.0.0", Summary: "adds to an integer", Make: planIncrBy},
		&Row{Name: "decrby", Arity: 3, Flags: writesFast, Keys: oneKey, Since: "1.0.0", Summary: "subtracts from an integer", Make: planDecrBy},
		&Row{Name: "incrbyfloat", Arity: 3, Flags: writesFast, Keys: oneKey, Since: "2.6.0", Summary: "adds to a decimal number", Make: planIncrByFloat},
	)
}

func planIncr(_ Env, args [][]byte) (Plan, error) { return increment(args[1], 1), nil }

func planDecr(_ Env, args [][]byte) (Plan, error) { return increment(args[1], -1), nil }

func planIncrBy(_ Env, args [][]byte) (Plan, error) {
	n, ok := wire.ParseNumber(args[2])
	if !ok {
		return Plan{}, wire.ErrNotInteger
	}
	return increment(args[1], n), nil
}

func planDecrBy(_ Env, args [][]byte) (Plan, error) {
	n, ok := wire.ParseNumber(args[2])
	switch {
	case !ok:
		return Plan{}, wire.ErrNotInteger
	case n == math.MinInt64:
		return Plan{}, wire.Error("ERR decrement would overflow")
	}
	return increment(args[1], -n), nil
}

func increment(key []byte, delta int64) Plan {
	return Plan{Ops: []api.Op{{Kind: api.OpIncrement, Key: key, Delta: delta}}, reply: replyNumber}
}

// planIncrByFloat is INCRBYFLOAT. A sum that is not finite has an error of its own.
func planIncrByFloat(_ Env, args [][]byte) (Plan, error) {
	op := api.Op{Kind: api.OpIncrementFloat, Key: args[1], Value: args[2]}
	return Plan{Ops: []api.Op{op}, tolerates: api.CodeOverflow, reply: func(_ Env, out *wire.Reply, results []api.OpResult) error {
		if results[0].Code != "" {
			return wire.Error("ERR increment would produce NaN or Infinity")
		}
		out.Bulk(results[0].Text)
		return nil
	}}, nil
}
