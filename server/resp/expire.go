package resp

import (
	"context"
	"fmt"
	"strings"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
)

// expireFlags are the conditions of EXPIRE and its kin.
type expireFlags struct{ nx, xx, gt, lt bool }

func parseExpireFlags(args [][]byte) (expireFlags, error) {
	var f expireFlags
	for _, arg := range args {
		switch strings.ToLower(string(arg[:min(len(arg), maxNameBytes)])) {
		case "nx":
			f.nx = true
		case "xx":
			f.xx = true
		case "gt":
			f.gt = true
		case "lt":
			f.lt = true
		default:
			return f, replyError(fmt.Sprintf("ERR Unsupported option %s", arg[:min(len(arg), maxEchoBytes)]))
		}
	}
	switch {
	case f.nx && (f.xx || f.gt || f.lt):
		return f, replyError("ERR NX and XX, GT or LT options at the same time are not compatible")
	case f.gt && f.lt:
		return f, replyError("ERR GT and LT options at the same time are not compatible")
	}
	return f, nil
}

// allow reports whether a key that expires at current, 0 for never, may be made to expire at wanted.
func (f expireFlags) allow(current, wanted uint64) bool {
	never := current == 0
	switch {
	case f.nx && !never, f.xx && never:
		return false
	case f.gt && (never || wanted <= current):
		return false
	case f.lt && !never && wanted >= current:
		return false
	}
	return true
}

// onExpire is EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT. A time that has passed removes the key.
func onExpire(ctx context.Context, c *conn, args [][]byte) error {
	name := lookup(args[0]).name
	unit := expiryUnits[name]
	now := clock.Millis(c.server.opts.Clock)
	millis, err := parseExpiry(name, args[2], unit, now)
	if err != nil {
		return err
	}
	flags, err := parseExpireFlags(args[3:])
	if err != nil {
		return err
	}
	op := api.Op{Kind: api.OpExpire, Key: args[1], Expiry: api.Expiry{Mode: unit.mode(), Millis: uint64(max(millis, 0))}}
	if millis <= 0 {
		op = api.Op{Kind: api.OpDelete, Key: args[1]}
	}
	if flags == (expireFlags{}) {
		_, found, err := c.apply(ctx, op)
		if err == nil {
			c.out.boolean(found.Existed)
		}
		return err
	}
	wanted := uint64(max(millis, 0))
	if !unit.absolute {
		wanted = uint64(max(int64(now)+millis, 0))
	}
	done, err := c.applyIf(ctx, op, func(item api.Item) bool { return flags.allow(item.ExpiryMillis, wanted) })
	if err == nil {
		c.out.boolean(done)
	}
	return err
}

func onPersist(ctx context.Context, c *conn, args [][]byte) error {
	op := api.Op{Kind: api.OpExpire, Key: args[1], Expiry: api.Expiry{Mode: api.ExpiryNone}}
	done, err := c.applyIf(ctx, op, func(item api.Item) bool { return item.ExpiryMillis != 0 })
	if err == nil {
		c.out.boolean(done)
	}
	return err
}

// maxApplyIfTries bounds how often a conditional write meets another writer. One of the writers
// gets through each time, so this many in a row mean a key that is written all the time.
const maxApplyIfTries = 32

// applyIf runs an operation if the key exists and is as ok wants it; it reads the key and writes
// it only if nobody wrote it in between.
func (c *conn) applyIf(ctx context.Context, op api.Op, ok func(api.Item) bool) (bool, error) {
	for range maxApplyIfTries {
		item, err := c.get(ctx, op.Key)
		if err != nil {
			return false, err
		}
		if !item.Found || !ok(item) {
			return false, nil
		}
		op.Condition = api.Condition{Kind: api.ConditionVersion, Version: item.Version}
		applied, _, err := c.apply(ctx, op)
		if err != nil || applied {
			return applied, err
		}
	}
	return false, api.Errorf(api.CodeOverloaded, "the key was written by others %d times in a row; try again", maxApplyIfTries)
}
