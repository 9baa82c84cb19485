package resp

import (
	"context"
	"math"
	"strings"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/server"
)

func stringCommands() []*command {
	slowWrite := []string{"@write", "@string", "@slow"}
	return []*command{
		{name: "get", arity: 2, flags: readFlags, positions: positions{1, 1, 1}, categories: readString, summary: "the value of a key", run: onGet},
		{name: "set", arity: -3, flags: writeFlags, positions: positions{1, 1, 1}, categories: slowWrite, summary: "writes a value; NX, XX, GET, EX, PX, EXAT, PXAT, KEEPTTL", run: onSet},
		{name: "mget", arity: -2, flags: readFlags, positions: positions{1, -1, 1}, categories: readString, summary: "the values of keys, each linearizable, together not one snapshot", run: onMGet},
		{name: "incr", arity: 2, flags: append(writeFlags, "fast"), positions: positions{1, 1, 1}, categories: writeString, summary: "adds one to an integer", run: onIncr},
		{name: "decr", arity: 2, flags: append(writeFlags, "fast"), positions: positions{1, 1, 1}, categories: writeString, summary: "subtracts one from an integer", run: onDecr},
		{name: "incrby", arity: 3, flags: append(writeFlags, "fast"), positions: positions{1, 1, 1}, categories: writeString, summary: "adds to an integer", run: onIncrBy},
		{name: "decrby", arity: 3, flags: append(writeFlags, "fast"), positions: positions{1, 1, 1}, categories: writeString, summary: "subtracts from an integer", run: onDecrBy},
	}
}

// get reads one key.
func (c *conn) get(ctx context.Context, key []byte) (api.Item, error) {
	items, err := c.server.opts.Store.Read(ctx, server.Query{Keys: [][]byte{key}})
	if err != nil {
		return api.Item{}, err
	}
	return items[0], nil
}

// apply runs one operation and returns what it found.
func (c *conn) apply(ctx context.Context, op api.Op) (applied bool, _ api.OpResult, _ error) {
	res, err := c.server.opts.Store.Apply(ctx, api.Batch{Ops: []api.Op{op}})
	if err != nil {
		return false, api.OpResult{}, err
	}
	if len(res.Ops) == 0 {
		return res.Applied, api.OpResult{}, nil
	}
	return res.Applied, res.Ops[0], nil
}

func onGet(ctx context.Context, c *conn, args [][]byte) error {
	item, err := c.get(ctx, args[1])
	if err != nil {
		return err
	}
	c.value(item)
	return nil
}

func (c *conn) value(item api.Item) {
	if !item.Found {
		c.out.null()
		return
	}
	c.out.bulk(item.Value)
}

func onMGet(ctx context.Context, c *conn, args [][]byte) error {
	items, err := c.server.opts.Store.Read(ctx, server.Query{Keys: args[1:]})
	if err != nil {
		return err
	}
	c.out.array(len(items))
	for _, item := range items {
		c.value(item)
	}
	return nil
}

// onSet answers as Redis does: with GET the old value, whether or not it was replaced, else OK,
// or null when NX or XX did not hold.
func onSet(ctx context.Context, c *conn, args [][]byte) error {
	op, err := parseSet(args, clock.Millis(c.server.opts.Clock))
	if err != nil {
		return err
	}
	applied, found, err := c.apply(ctx, op)
	switch {
	case err != nil:
		return err
	case op.ReturnPrevious && found.Existed:
		c.out.bulk(found.Previous)
	case op.ReturnPrevious || !applied:
		c.out.null()
	default:
		c.out.ok()
	}
	return nil
}

// parseSet turns SET's arguments into an operation.
func parseSet(args [][]byte, nowMillis uint64) (api.Op, error) {
	op := api.Op{Kind: api.OpPut, Key: args[1], Value: args[2]}
	hasExpiry := false
	for i := 3; i < len(args); i++ {
		option := strings.ToLower(string(args[i][:min(len(args[i]), maxNameBytes)]))
		switch option {
		case "nx", "xx":
			kind := api.ConditionAbsent
			if option == "xx" {
				kind = api.ConditionPresent
			}
			if op.Condition.Kind != api.ConditionNone && op.Condition.Kind != kind {
				return op, errSyntax
			}
			op.Condition.Kind = kind
		case "get":
			op.ReturnPrevious = true
		case "keepttl", "ex", "px", "exat", "pxat":
			if hasExpiry || option != "keepttl" && i+1 == len(args) {
				return op, errSyntax
			}
			hasExpiry = true
			if option == "keepttl" {
				op.Expiry.Mode = api.ExpiryKeep
				continue
			}
			i++
			unit := expiryUnits[option]
			millis, err := parseExpiry("set", args[i], unit, nowMillis)
			if err != nil {
				return op, err
			}
			if millis <= 0 {
				return op, errExpiry("set")
			}
			op.Expiry = api.Expiry{Mode: unit.mode(), Millis: uint64(millis)}
		default:
			return op, errSyntax
		}
	}
	return op, nil
}

// expiryUnit says what the number of an expiry means.
type expiryUnit struct{ seconds, absolute bool }

func (u expiryUnit) mode() api.ExpiryMode {
	if u.absolute {
		return api.ExpiryAt
	}
	return api.ExpiryAfter
}

var expiryUnits = map[string]expiryUnit{
	"ex": {seconds: true}, "px": {}, "exat": {seconds: true, absolute: true}, "pxat": {absolute: true},
	"expire": {seconds: true}, "pexpire": {}, "expireat": {seconds: true, absolute: true}, "pexpireat": {absolute: true},
}

func errExpiry(command string) error {
	return replyError("ERR invalid expire time in '" + command + "' command")
}

// parseExpiry reads an expiry in milliseconds, which may be negative, and refuses one whose
// absolute time does not fit.
func parseExpiry(command string, arg []byte, unit expiryUnit, nowMillis uint64) (int64, error) {
	n, ok := parseNumber(arg)
	if !ok {
		return 0, errNotInteger
	}
	if unit.seconds {
		if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
			return 0, errExpiry(command)
		}
		n *= 1000
	}
	if !unit.absolute && n > math.MaxInt64-int64(nowMillis) {
		return 0, errExpiry(command)
	}
	return n, nil
}

func onIncr(ctx context.Context, c *conn, args [][]byte) error {
	return c.increment(ctx, args[1], 1)
}

func onDecr(ctx context.Context, c *conn, args [][]byte) error {
	return c.increment(ctx, args[1], -1)
}

func onIncrBy(ctx context.Context, c *conn, args [][]byte) error {
	n, ok := parseNumber(args[2])
	if !ok {
		return errNotInteger
	}
	return c.increment(ctx, args[1], n)
}

func onDecrBy(ctx context.Context, c *conn, args [][]byte) error {
	n, ok := parseNumber(args[2])
	switch {
	case !ok:
		return errNotInteger
	case n == math.MinInt64:
		return replyError("ERR decrement would overflow")
	}
	return c.increment(ctx, args[1], -n)
}

func (c *conn) increment(ctx context.Context, key []byte, delta int64) error {
	_, found, err := c.apply(ctx, api.Op{Kind: api.OpIncrement, Key: key, Delta: delta, Expiry: api.Expiry{Mode: api.ExpiryKeep}})
	if err != nil {
		return err
	}
	c.out.integer(found.Number)
	return nil
}
