package plan

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// whole is how long a value may be that a command changes, computes with, or returns while it writes.
var whole = fmt.Sprintf("%d MiB", api.MaxWholeBytes>>20)

func valueRows() []*Row {
	returnsLong := "refused, and nothing is changed, if the value before has more than " + whole
	return inGroup("string",
		&Row{Name: "get", Arity: 2, Flags: readsFast, Keys: oneKey, Since: "1.0.0", Summary: "the value of a key", Make: planGet},
		&Row{Name: "set", Arity: -3, Flags: writes, Keys: oneKey, Since: "1.0.0", Summary: "writes a value; NX, XX, GET, EX, PX, EXAT, PXAT, KEEPTTL", Make: planSet,
			Differs: "with GET it is refused, and nothing is written, if the value before has more than " + whole},
		&Row{Name: "setnx", Arity: 3, Flags: writesFast, Keys: oneKey, Since: "1.0.0", Summary: "writes a value if the key is absent", Make: planSetNX},
		&Row{Name: "setex", Arity: 4, Flags: writes, Keys: oneKey, Since: "2.0.0", Summary: "writes a value that expires in seconds", Make: planSetEX},
		&Row{Name: "psetex", Arity: 4, Flags: writes, Keys: oneKey, Since: "2.6.0", Summary: "writes a value that expires in milliseconds", Make: planSetEX},
		&Row{Name: "getset", Arity: 3, Flags: writesFast, Keys: oneKey, Since: "1.0.0", Summary: "writes a value and answers the one before", Make: planGetSet, Differs: returnsLong},
		&Row{Name: "getdel", Arity: 2, Flags: altersFast, Keys: oneKey, Since: "6.2.0", Summary: "removes a key and answers its value", Make: planGetDel, Differs: returnsLong},
		&Row{Name: "getex", Arity: -2, Flags: altersFast, Keys: oneKey, Since: "6.2.0", Summary: "the value of a key, whose expiry may be changed; EX, PX, EXAT, PXAT, PERSIST", Make: planGetEX,
			Differs: "with an option it is refused, and nothing is changed, if the value has more than " + whole},
		&Row{Name: "mget", Arity: -2, Flags: readsFast, Keys: eachKey, Since: "1.0.0", Summary: "the values of keys", Make: planMGet,
			Differs: "each value is linearizable; those of keys on several shards are not one snapshot"},
		&Row{Name: "mset", Arity: -3, Flags: writes, Keys: eachPair, Since: "1.0.1", Summary: "writes values", Make: planMSet,
			Differs: "CROSSSLOT if the keys live on several shards, because a write of several shards would not be atomic"},
		&Row{Name: "msetnx", Arity: -3, Flags: writes, Keys: eachPair, Since: "1.0.1", Summary: "writes values if none of the keys exists", Make: planMSetNX,
			Differs: "CROSSSLOT if the keys live on several shards, because a write of several shards would not be atomic"},
	)
}

func planGet(e Env, args [][]byte) (Plan, error) {
	return Plan{Ops: e.only(readsValue(args[1])), Piecewise: true, reply: replyPrevious}, nil
}

func planMGet(_ Env, args [][]byte) (Plan, error) {
	return Plan{Ops: onEach(readsValue(nil), args[1:]), Each: true, Piecewise: true, reply: func(e Env, out *wire.Reply, results []api.OpResult) error {
		out.Array(len(results))
		for i := range results {
			if err := writePrevious(e, out, i, &results[i]); err != nil {
				out.Break(err) // the replies before it are on their way
			}
		}
		return nil
	}}, nil
}

// planSet is SET. With GET the answer is the old value, whether or not it was replaced; else OK,
// or null when NX or XX did not hold.
func planSet(e Env, args [][]byte) (Plan, error) {
	o, err := parseSetOptions(args[3:])
	if err != nil {
		return Plan{}, err
	}
	op := api.Op{Kind: api.OpPut, Key: args[1], Value: args[2], Condition: o.condition, ReturnPrevious: o.get, Blind: true}
	if op.Expiry, err = o.expiry("set", e); err != nil {
		return Plan{}, err
	}
	p := Plan{Ops: e.only(op), reply: replySet}
	if o.get {
		p.reply = replyPrevious
	}
	return p, nil
}

func replySet(_ Env, out *wire.Reply, results []api.OpResult) error {
	if results[0].Applied {
		out.OK()
	} else {
		out.Null()
	}
	return nil
}

func planSetNX(_ Env, args [][]byte) (Plan, error) {
	op := api.Op{Kind: api.OpPut, Key: args[1], Value: args[2], Condition: api.Condition{Kind: api.ConditionAbsent}}
	return Plan{Ops: []api.Op{op}, reply: replyApplied}, nil
}

// planSetEX is SETEX and PSETEX.
func planSetEX(e Env, args [][]byte) (Plan, error) {
	name := wire.Option(args[0])
	o := valueOptions{word: "ex", number: args[2]}
	if name == "psetex" {
		o.word = "px"
	}
	expiry, err := o.expiry(name, e)
	op := api.Op{Kind: api.OpPut, Key: args[1], Value: args[3], Expiry: expiry, Blind: true}
	return Plan{Ops: []api.Op{op}, reply: replyOK}, err
}

func planGetSet(_ Env, args [][]byte) (Plan, error) {
	op := api.Op{Kind: api.OpPut, Key: args[1], Value: args[2], ReturnPrevious: true}
	return Plan{Ops: []api.Op{op}, reply: replyPrevious}, nil
}

func planGetDel(_ Env, args [][]byte) (Plan, error) {
	op := api.Op{Kind: api.OpDelete, Key: args[1], ReturnPrevious: true}
	return Plan{Ops: []api.Op{op}, reply: replyPrevious}, nil
}

// planGetEX is GETEX. Redis looks for the key before it looks at the number: without the key a
// wrong number is no error.
func planGetEX(e Env, args [][]byte) (Plan, error) {
	o, err := parseGetOptions(args[2:])
	if err != nil {
		return Plan{}, err
	}
	if o.word == "" {
		return planGet(e, args)
	}
	expiry, err := o.expiry("getex", e)
	if err != nil {
		return Plan{Ops: []api.Op{looksAt(args[1])}, reply: func(_ Env, out *wire.Reply, results []api.OpResult) error {
			if results[0].Existed {
				return err
			}
			out.Null()
			return nil
		}}, nil
	}
	op := api.Op{Kind: api.OpExpire, Key: args[1], Expiry: expiry, ReturnPrevious: true}
	return Plan{Ops: []api.Op{op}, reply: replyPrevious}, nil
}

func planMSet(_ Env, args [][]byte) (Plan, error) {
	ops, err := parsePairs("mset", args, api.ConditionNone)
	return Plan{Ops: ops, reply: replyOK}, err
}

func planMSetNX(_ Env, args [][]byte) (Plan, error) {
	ops, err := parsePairs("msetnx", args, api.ConditionAbsent)
	return Plan{Ops: ops, reply: replyApplied}, err
}

// parsePairs makes one step of keys and values. A key that is named twice gets the last value.
func parsePairs(name string, args [][]byte, condition api.ConditionKind) ([]api.Op, error) {
	if len(args)%2 == 0 {
		return nil, wire.ErrArity(name)
	}
	ops := make([]api.Op, 0, len(args)/2)
	index := make(map[string]int, len(args)/2)
	for i := 1; i < len(args); i += 2 {
		if at, seen := index[string(args[i])]; seen {
			ops[at].Value = args[i+1]
			continue
		}
		index[string(args[i])] = len(ops)
		ops = append(ops, api.Op{
			Kind: api.OpPut, Key: args[i], Value: args[i+1],
			Condition: api.Condition{Kind: condition}, Joined: len(ops) > 0, Blind: true,
		})
	}
	return ops, nil
}

// valueOptions are the options of SET and GETEX.
type valueOptions struct {
	condition api.Condition
	get       bool
	// word is what is said about the expiry: keepttl, persist, or a unit, which has a number. It
	// may be repeated but not changed.
	word   string
	number []byte
}

func parseSetOptions(args [][]byte) (valueOptions, error) {
	var o valueOptions
	for len(args) > 0 {
		taken := 1
		switch word := wire.Option(args[0]); word {
		case "nx", "xx":
			kind := api.ConditionAbsent
			if word == "xx" {
				kind = api.ConditionPresent
			}
			if o.condition.Kind != api.ConditionNone && o.condition.Kind != kind {
				return o, wire.ErrSyntax
			}
			o.condition.Kind = kind
		case "get":
			o.get = true
		default:
			taken = o.takeExpiry("keepttl", args)
		}
		if taken == 0 {
			return o, wire.ErrSyntax
		}
		args = args[taken:]
	}
	return o, nil
}

func parseGetOptions(args [][]byte) (valueOptions, error) {
	var o valueOptions
	for len(args) > 0 {
		taken := o.takeExpiry("persist", args)
		if taken == 0 {
			return o, wire.ErrSyntax
		}
		args = args[taken:]
	}
	return o, nil
}

// takeExpiry takes what args begin with: the word alone, or a unit and its number. It returns how
// many arguments that are, 0 if they are something else or do not go with those before.
func (o *valueOptions) takeExpiry(alone string, args [][]byte) int {
	word := wire.Option(args[0])
	if o.word != "" && o.word != word {
		return 0
	}
	o.word = word
	if word == alone {
		return 1
	}
	if _, ok := expiryUnits[word]; !ok || len(args) < 2 {
		return 0
	}
	o.number = args[1]
	return 2
}

// expiry is what the options wish for. Only the last of several numbers counts.
func (o *valueOptions) expiry(command string, e Env) (api.Expiry, error) {
	switch o.word {
	case "keepttl":
		return api.Expiry{Mode: api.ExpiryKeep}, nil
	case "", "persist":
		return api.Expiry{}, nil
	}
	unit := expiryUnits[o.word]
	millis, err := parseExpiry(command, o.number, unit, e)
	if err != nil {
		return api.Expiry{}, err
	}
	if millis <= 0 {
		return api.Expiry{}, errExpiry(command)
	}
	return api.Expiry{Mode: unit.mode(), Millis: uint64(millis)}, nil
}
