package resp

import (
	"math"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// planCopy is COPY. It answers whether it copied: neither an absent source nor, without REPLACE, a
// key that exists is an error.
func planCopy(_ env, args [][]byte) (plan, error) {
	replace, err := parseCopy(args[3:])
	if err != nil {
		return plan{}, err
	}
	source, key := args[1], args[2]
	if string(source) == string(key) {
		return plan{}, wire.Error("ERR source and destination objects are the same")
	}
	op := api.Op{Kind: api.OpCopy, Source: source, Key: key}
	if !replace {
		op.Condition.Kind = api.ConditionAbsent
	}
	return plan{ops: []api.Op{op}, tolerates: api.CodeNotFound, reply: replyApplied}, nil
}

func parseCopy(args [][]byte) (replace bool, _ error) {
	for i := 0; i < len(args); i++ {
		switch word := option(args[i]); {
		case word == "replace":
			replace = true
		case word == "db" && i+1 < len(args):
			i++
			n, err := parseDatabase(args[i])
			if err != nil {
				return false, err
			}
			if n != 0 {
				return false, errDatabase
			}
		default:
			return false, errSyntax
		}
	}
	return replace, nil
}

const errDatabase = wire.Error("ERR DB index is out of range")

// parseDatabase reads the number of a database, of which only 0 exists.
func parseDatabase(arg []byte) (int64, error) {
	n, ok := wire.ParseNumber(arg)
	switch {
	case !ok:
		return 0, errNotInteger
	case n < math.MinInt32 || n > math.MaxInt32:
		return 0, wire.Error("ERR value is out of range, value must between -2147483648 and 2147483647")
	}
	return n, nil
}

// planRename is RENAME. An absent source is an error.
func planRename(_ env, args [][]byte) (plan, error) {
	op := api.Op{Kind: api.OpRename, Source: args[1], Key: args[2]}
	return plan{ops: []api.Op{op}, reply: replyOK}, nil
}

// planRenameNX is RENAMENX. An absent source is an error, also if the new name is taken.
func planRenameNX(_ env, args [][]byte) (plan, error) {
	op := api.Op{Kind: api.OpRename, Source: args[1], Key: args[2], Condition: api.Condition{Kind: api.ConditionAbsent}}
	return plan{ops: []api.Op{op}, reply: replyApplied}, nil
}
