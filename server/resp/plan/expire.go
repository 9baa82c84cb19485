package plan

import (
	"math"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

func expiryRows() []*Row {
	return inGroup("generic",
		&Row{Name: "expire", Arity: -3, Flags: altersFast, Keys: oneKey, Since: "1.0.0", Summary: "lets a key expire in seconds; NX, XX, GT, LT", Make: planExpire},
		&Row{Name: "pexpire", Arity: -3, Flags: altersFast, Keys: oneKey, Since: "2.6.0", Summary: "lets a key expire in milliseconds; NX, XX, GT, LT", Make: planExpire},
		&Row{Name: "expireat", Arity: -3, Flags: altersFast, Keys: oneKey, Since: "1.2.0", Summary: "lets a key expire at a second; NX, XX, GT, LT", Make: planExpire},
		&Row{Name: "pexpireat", Arity: -3, Flags: altersFast, Keys: oneKey, Since: "2.6.0", Summary: "lets a key expire at a millisecond; NX, XX, GT, LT", Make: planExpire},
		&Row{Name: "persist", Arity: 2, Flags: altersFast, Keys: oneKey, Since: "2.2.0", Summary: "takes the expiry off a key", Make: planPersist},
		&Row{Name: "ttl", Arity: 2, Flags: readsFast, Keys: oneKey, Since: "1.0.0", Summary: "seconds until a key expires; -1 never, -2 no such key", Make: planTTL(1000, false)},
		&Row{Name: "pttl", Arity: 2, Flags: readsFast, Keys: oneKey, Since: "2.6.0", Summary: "milliseconds until a key expires", Make: planTTL(1, false)},
		&Row{Name: "expiretime", Arity: 2, Flags: readsFast, Keys: oneKey, Since: "7.0.0", Summary: "the second at which a key expires", Make: planTTL(1000, true)},
		&Row{Name: "pexpiretime", Arity: 2, Flags: readsFast, Keys: oneKey, Since: "7.0.0", Summary: "the millisecond at which a key expires", Make: planTTL(1, true)},
	)
}

// expiryUnit says what the number of an expiry means.
type expiryUnit struct{ seconds, absolute bool }

func (u expiryUnit) mode() api.ExpiryMode {
	if u.absolute {
		return api.ExpiryAt
	}
	return api.ExpiryAfter
}

// expiryUnits are those of the options of SET and GETEX, and expireUnits those of the commands.
var (
	expiryUnits = map[string]expiryUnit{
		"ex": {seconds: true}, "px": {}, "exat": {seconds: true, absolute: true}, "pxat": {absolute: true},
	}
	expireUnits = map[string]expiryUnit{
		"expire": {seconds: true}, "pexpire": {}, "expireat": {seconds: true, absolute: true}, "pexpireat": {absolute: true},
	}
)

func errExpiry(command string) error {
	return wire.Error("ERR invalid expire time in '" + command + "' command")
}

// parseExpiry reads an expiry in milliseconds, which may be negative, and refuses one whose
// absolute time does not fit.
func parseExpiry(command string, arg []byte, unit expiryUnit, e Env) (int64, error) {
	n, ok := wire.ParseNumber(arg)
	if !ok {
		return 0, wire.ErrNotInteger
	}
	if unit.seconds {
		if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
			return 0, errExpiry(command)
		}
		n *= 1000
	}
	if !unit.absolute && n > math.MaxInt64-int64(e.NowMillis) {
		return 0, errExpiry(command)
	}
	return n, nil
}

// planExpire is EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT. A time that has passed removes the key.
func planExpire(e Env, args [][]byte) (Plan, error) {
	condition, err := parseExpireCondition(args[3:])
	if err != nil {
		return Plan{}, err
	}
	name := wire.Option(args[0])
	unit := expireUnits[name]
	millis, err := parseExpiry(name, args[2], unit, e)
	if err != nil {
		return Plan{}, err
	}
	expiry := api.Expiry{Mode: unit.mode(), Millis: uint64(max(millis, 0))}
	if millis <= 0 {
		expiry = api.Expiry{Mode: api.ExpiryAt, Millis: 1} // long ago
	}
	op := api.Op{Kind: api.OpExpire, Key: args[1], Expiry: expiry, Condition: api.Condition{Kind: condition}}
	return Plan{Ops: []api.Op{op}, reply: func(_ Env, out *wire.Reply, results []api.OpResult) error {
		out.Boolean(results[0].Applied && results[0].Existed)
		return nil
	}}, nil
}

// parseExpireCondition makes one condition of NX, XX, GT and LT, each of which may be repeated.
func parseExpireCondition(args [][]byte) (api.ConditionKind, error) {
	var nx, xx, gt, lt bool
	for _, arg := range args {
		switch wire.Option(arg) {
		case "nx":
			nx = true
		case "xx":
			xx = true
		case "gt":
			gt = true
		case "lt":
			lt = true
		default:
			return 0, wire.Error("ERR Unsupported option " + wire.Echo(arg))
		}
	}
	switch {
	case nx && (xx || gt || lt):
		return 0, wire.Error("ERR NX and XX, GT or LT options at the same time are not compatible")
	case gt && lt:
		return 0, wire.Error("ERR GT and LT options at the same time are not compatible")
	case nx:
		return api.ConditionPersistent, nil
	case gt:
		return api.ConditionExpiresLater, nil // never holds for a key that does not expire
	case lt && xx:
		return api.ConditionExpiringSooner, nil
	case lt:
		return api.ConditionExpiresSooner, nil
	case xx:
		return api.ConditionExpiring, nil
	}
	return api.ConditionNone, nil
}

func planPersist(_ Env, args [][]byte) (Plan, error) {
	op := api.Op{Kind: api.OpExpire, Key: args[1], Condition: api.Condition{Kind: api.ConditionExpiring}}
	return Plan{Ops: []api.Op{op}, reply: replyApplied}, nil
}

// planTTL makes the plans of TTL and its kin.
func planTTL(unit uint64, absolute bool) func(Env, [][]byte) (Plan, error) {
	answer := func(e Env, out *wire.Reply, results []api.OpResult) error {
		found := &results[0]
		switch {
		case !found.Existed:
			out.Integer(-2)
		case found.PreviousExpiry == 0:
			out.Integer(-1)
		case absolute:
			out.Integer(int64((found.PreviousExpiry + unit/2) / unit))
		case found.PreviousExpiry <= e.NowMillis:
			out.Integer(0) // the shard's time is a little behind this node's clock
		default:
			out.Integer(int64((found.PreviousExpiry - e.NowMillis + unit/2) / unit))
		}
		return nil
	}
	return func(_ Env, args [][]byte) (Plan, error) {
		return Plan{Ops: []api.Op{looksAt(args[1])}, reply: answer}, nil
	}
}
