package resp

import (
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// stringCommands are the rows about values.
func stringCommands() []*command {
	return slices.Concat(valueCommands(), counterCommands(), rangeCommands(), lcsCommands(), bitCommands())
}

func valueCommands() []*command {
	return inGroup("string",
		&command{name: "get", arity: 2, flags: readsFast, positions: oneKey, since: "1.0.0", summary: "the value of a key", plan: planGet},
		&command{name: "set", arity: -3, flags: writes, positions: oneKey, since: "1.0.0", summary: "writes a value; NX, XX, GET, EX, PX, EXAT, PXAT, KEEPTTL", plan: planSet},
		&command{name: "setnx", arity: 3, flags: writesFast, positions: oneKey, since: "1.0.0", summary: "writes a value if the key is absent", plan: planSetNX},
		&command{name: "setex", arity: 4, flags: writes, positions: oneKey, since: "2.0.0", summary: "writes a value that expires in seconds", plan: planSetEX},
		&command{name: "psetex", arity: 4, flags: writes, positions: oneKey, since: "2.6.0", summary: "writes a value that expires in milliseconds", plan: planSetEX},
		&command{name: "getset", arity: 3, flags: writesFast, positions: oneKey, since: "1.0.0", summary: "writes a value and answers the one before", plan: planGetSet},
		&command{name: "getdel", arity: 2, flags: altersFast, positions: oneKey, since: "6.2.0", summary: "removes a key and answers its value", plan: planGetDel},
		&command{name: "getex", arity: -2, flags: altersFast, positions: oneKey, since: "6.2.0", summary: "the value of a key, whose expiry may be changed; EX, PX, EXAT, PXAT, PERSIST", plan: planGetEX},
		&command{name: "mget", arity: -2, flags: readsFast, positions: eachKey, since: "1.0.0", summary: "the values of keys", plan: planMGet,
			differs: "each value is linearizable; those of keys on several shards are not one snapshot"},
		&command{name: "mset", arity: -3, flags: writes, positions: eachPair, since: "1.0.1", summary: "writes values", plan: planMSet,
			differs: "CROSSSLOT if the keys live on several shards, because a write of several shards would not be atomic"},
		&command{name: "msetnx", arity: -3, flags: writes, positions: eachPair, since: "1.0.1", summary: "writes values if none of the keys exists", plan: planMSetNX,
			differs: "CROSSSLOT if the keys live on several shards, because a write of several shards would not be atomic"},
	)
}

func planGet(_ env, args [][]byte) (plan, error) {
	return plan{ops: []api.Op{readsValue(args[1])}, reply: replyPrevious}, nil
}

func planMGet(_ env, args [][]byte) (plan, error) {
	return plan{ops: onEach(readsValue(nil), args[1:]), each: true, reply: func(_ env, out *wire.Reply, results []api.OpResult) error {
		out.Array(len(results))
		for i := range results {
			writePrevious(out, &results[i])
		}
		return nil
	}}, nil
}

// planSet is SET. With GET the answer is the old value, whether or not it was replaced; else OK,
// or null when NX or XX did not hold.
func planSet(e env, args [][]byte) (plan, error) {
	o, err := parseSetOptions(args[3:])
	if err != nil {
		return plan{}, err
	}
	op := api.Op{Kind: api.OpPut, Key: args[1], Value: args[2], Condition: o.condition, ReturnPrevious: o.get}
	if op.Expiry, err = o.expiry("set", e); err != nil {
		return plan{}, err
	}
	p := plan{ops: []api.Op{op}, reply: replySet}
	if o.get {
		p.reply = replyPrevious
	}
	return p, nil
}

func replySet(_ env, out *wire.Reply, results []api.OpResult) error {
	if results[0].Applied {
		out.OK()
	} else {
		out.Null()
	}
	return nil
}

func planSetNX(_ env, args [][]byte) (plan, error) {
	op := api.Op{Kind: api.OpPut, Key: args[1], Value: args[2], Condition: api.Condition{Kind: api.ConditionAbsent}}
	return plan{ops: []api.Op{op}, reply: replyApplied}, nil
}

// planSetEX is SETEX and PSETEX.
func planSetEX(e env, args [][]byte) (plan, error) {
	name := option(args[0])
	o := valueOptions{word: "ex", number: args[2]}
	if name == "psetex" {
		o.word = "px"
	}
	expiry, err := o.expiry(name, e)
	op := api.Op{Kind: api.OpPut, Key: args[1], Value: args[3], Expiry: expiry}
	return plan{ops: []api.Op{op}, reply: replyOK}, err
}

func planGetSet(_ env, args [][]byte) (plan, error) {
	op := api.Op{Kind: api.OpPut, Key: args[1], Value: args[2], ReturnPrevious: true}
	return plan{ops: []api.Op{op}, reply: replyPrevious}, nil
}

func planGetDel(_ env, args [][]byte) (plan, error) {
	op := api.Op{Kind: api.OpDelete, Key: args[1], ReturnPrevious: true}
	return plan{ops: []api.Op{op}, reply: replyPrevious}, nil
}

// planGetEX is GETEX. Redis looks for the key before it looks at the number: without the key a
// wrong number is no error.
func planGetEX(e env, args [][]byte) (plan, error) {
	o, err := parseGetOptions(args[2:])
	if err != nil {
		return plan{}, err
	}
	if o.word == "" {
		return planGet(e, args)
	}
	expiry, err := o.expiry("getex", e)
	if err != nil {
		return plan{ops: []api.Op{looksAt(args[1])}, reply: func(_ env, out *wire.Reply, results []api.OpResult) error {
			if results[0].Existed {
				return err
			}
			out.Null()
			return nil
		}}, nil
	}
	op := api.Op{Kind: api.OpExpire, Key: args[1], Expiry: expiry, ReturnPrevious: true}
	return plan{ops: []api.Op{op}, reply: replyPrevious}, nil
}

func planMSet(_ env, args [][]byte) (plan, error) {
	ops, err := parsePairs("mset", args, api.ConditionNone)
	return plan{ops: ops, reply: replyOK}, err
}

func planMSetNX(_ env, args [][]byte) (plan, error) {
	ops, err := parsePairs("msetnx", args, api.ConditionAbsent)
	return plan{ops: ops, reply: replyApplied}, err
}

// parsePairs makes one step of keys and values. A key that is named twice gets the last value.
func parsePairs(name string, args [][]byte, condition api.ConditionKind) ([]api.Op, error) {
	if len(args)%2 == 0 {
		return nil, errArity(name)
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
			Condition: api.Condition{Kind: condition}, Joined: len(ops) > 0,
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
		switch word := option(args[0]); word {
		case "nx", "xx":
			kind := api.ConditionAbsent
			if word == "xx" {
				kind = api.ConditionPresent
			}
			if o.condition.Kind != api.ConditionNone && o.condition.Kind != kind {
				return o, errSyntax
			}
			o.condition.Kind = kind
		case "get":
			o.get = true
		default:
			taken = o.takeExpiry("keepttl", args)
		}
		if taken == 0 {
			return o, errSyntax
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
			return o, errSyntax
		}
		args = args[taken:]
	}
	return o, nil
}

// takeExpiry takes what args begin with: the word alone, or a unit and its number. It returns how
// many arguments that are, 0 if they are something else or do not go with those before.
func (o *valueOptions) takeExpiry(alone string, args [][]byte) int {
	word := option(args[0])
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
func (o *valueOptions) expiry(command string, e env) (api.Expiry, error) {
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
