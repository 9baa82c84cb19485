package resp

import (
	"math"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/evaluate"
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
	n, ok := parseNumber(args[2])
	if !ok {
		return plan{}, errNotInteger
	}
	return increment(args[1], n), nil
}

func planDecrBy(_ env, args [][]byte) (plan, error) {
	n, ok := parseNumber(args[2])
	switch {
	case !ok:
		return plan{}, errNotInteger
	case n == math.MinInt64:
		return plan{}, replyError("ERR decrement would overflow")
	}
	return increment(args[1], -n), nil
}

func increment(key []byte, delta int64) plan {
	return plan{ops: []api.Op{{Kind: api.OpIncrement, Key: key, Delta: delta}}, reply: replyNumber}
}

// planIncrByFloat is INCRBYFLOAT. An infinite sum has an error of its own; what the key held tells
// it from a text that is no number.
func planIncrByFloat(_ env, args [][]byte) (plan, error) {
	op := api.Op{Kind: api.OpIncrementFloat, Key: args[1], Value: args[2], ReturnPrevious: true}
	return plan{ops: []api.Op{op}, tolerates: api.CodeNotFloat, reply: func(_ env, out *reply, results []api.OpResult) error {
		found := &results[0]
		switch {
		case found.Code == "":
			out.bulk(found.Text)
			return nil
		case evaluate.IsFloat(args[2]) && (!found.Existed || evaluate.IsFloat(found.Previous)):
			return replyError("ERR increment would produce NaN or Infinity")
		}
		return &api.Error{Code: found.Code}
	}}, nil
}
