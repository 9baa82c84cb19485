package resp

import (
	"math"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

func counterCommands() []*command {
	return inGroup("string",
		&command{name: "incr", arity: 2, flags: writesFast, positions: oneKey, since: "1.0.0", summary: "adds one to an integer", plan: planIncr},
		&command{name: "decr", arity: 2, flags: writesFast, positions: oneKey, since: "1.0.0", summary: "subtracts one from an integer", plan: planDecr},
		&command{name: "incrby", arity: 3, flags: writesFast, positions: oneKey, since: "1.0.0", summary: "adds to an integer", plan: planIncrBy},
		&command{name: "decrby", arity: 3, flags: writesFast, positions: oneKey, since: "1.0.0", summary: "subtracts from an integer", plan: planDecrBy},
		&command{name: "incrbyfloat", arity: 3, flags: writesFast, positions: oneKey, since: "2.6.0", summary: "adds to a decimal number", plan: planIncrByFloat},
	)
}

func planIncr(_ env, args [][]byte) (plan, error) { return increment(args[1], 1), nil }

func planDecr(_ env, args [][]byte) (plan, error) { return increment(args[1], -1), nil }

func planIncrBy(_ env, args [][]byte) (plan, error) {
	n, ok := wire.ParseNumber(args[2])
	if !ok {
		return plan{}, errNotInteger
	}
	return increment(args[1], n), nil
}

func planDecrBy(_ env, args [][]byte) (plan, error) {
	n, ok := wire.ParseNumber(args[2])
	switch {
	case !ok:
		return plan{}, errNotInteger
	case n == math.MinInt64:
		return plan{}, wire.Error("ERR decrement would overflow")
	}
	return increment(args[1], -n), nil
}

func increment(key []byte, delta int64) plan {
	return plan{ops: []api.Op{{Kind: api.OpIncrement, Key: key, Delta: delta}}, reply: replyNumber}
}

// planIncrByFloat is INCRBYFLOAT. A sum that is not finite has an error of its own.
func planIncrByFloat(_ env, args [][]byte) (plan, error) {
	op := api.Op{Kind: api.OpIncrementFloat, Key: args[1], Value: args[2]}
	return plan{ops: []api.Op{op}, tolerates: api.CodeOverflow, reply: func(_ env, out *wire.Reply, results []api.OpResult) error {
		if results[0].Code != "" {
			return wire.Error("ERR increment would produce NaN or Infinity")
		}
		out.Bulk(results[0].Text)
		return nil
	}}, nil
}
