package plan

import (
	"math"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// planCopy is COPY. It answers whether it copied: neither an absent source nor, without REPLACE, a
// key that exists is an error.
func planCopy(_ Env, args [][]byte) (Plan, error) {
	replace, err := parseCopy(args[3:])
	if err != nil {
		return Plan{}, err
	}
	source, key := args[1], args[2]
	if string(source) == string(key) {
		return Plan{}, wire.Error("ERR source and destination objects are the same")
	}
	op := api.Op{Kind: api.OpCopy, Source: source, Key: key}
	if !replace {
		op.Condition.Kind = api.ConditionAbsent
	}
	return Plan{Ops: []api.Op{op}, tolerates: api.CodeNotFound, reply: replyApplied}, nil
}

func parseCopy(args [][]byte) (replace bool, _ error) {
	for i := 0; i < len(args); i++ {
		switch word := wire.Option(args[i]); {
		case word == "replace":
			replace = true
		case word == "db" && i+1 < len(args):
			i++
			n, err := ParseDatabase(args[i])
			if err != nil {
				return false, err
			}
			if n != 0 {
				return false, ErrDatabase
			}
		default:
			return false, wire.ErrSyntax
		}
	}
	return replace, nil
}

// ErrDatabase is the error of a database other than 0, the only one.
const ErrDatabase = wire.Error("ERR DB index is out of range")

// ParseDatabase reads the number of a database.
func ParseDatabase(arg []byte) (int64, error) {
	n, ok := wire.ParseNumber(arg)
	switch {
	case !ok:
		return 0, wire.ErrNotInteger
	case n < math.MinInt32 || n > math.MaxInt32:
		return 0, wire.Error("ERR value is out of range, value must between -2147483648 and 2147483647")
	}
	return n, nil
}

// planRename is RENAME. An absent source is an error.
func planRename(_ Env, args [][]byte) (Plan, error) {
	op := api.Op{Kind: api.OpRename, Source: args[1], Key: args[2]}
	return Plan{Ops: []api.Op{op}, reply: replyOK}, nil
}

// planRenameNX is RENAMENX. An absent source is an error, also if the new name is taken.
func planRenameNX(_ Env, args [][]byte) (Plan, error) {
	op := api.Op{Kind: api.OpRename, Source: args[1], Key: args[2], Condition: api.Condition{Kind: api.ConditionAbsent}}
	return Plan{Ops: []api.Op{op}, reply: replyApplied}, nil
}
