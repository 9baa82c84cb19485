package resp

import (
	"context"
	"strconv"
	"strings"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/server"
)

func keyCommands() []*command {
	slowWrite := []string{"@keyspace", "@write", "@slow"}
	return []*command{
		{name: "del", arity: -2, flags: []string{"write"}, positions: positions{1, -1, 1}, categories: slowWrite, summary: "removes keys, atomically per shard", run: onDel},
		{name: "unlink", arity: -2, flags: fastWriteFlags, positions: positions{1, -1, 1}, categories: writeKeyspace, summary: "as DEL", run: onDel},
		{name: "exists", arity: -2, flags: readFlags, positions: positions{1, -1, 1}, categories: readKeyspace, summary: "how many of the keys exist", run: onExists},
		{name: "type", arity: 2, flags: readFlags, positions: positions{1, 1, 1}, categories: readKeyspace, summary: "string or none", run: onType},
		{name: "expire", arity: -3, flags: fastWriteFlags, positions: positions{1, 1, 1}, categories: writeKeyspace, summary: "lets a key expire in seconds; NX, XX, GT, LT", run: onExpire},
		{name: "pexpire", arity: -3, flags: fastWriteFlags, positions: positions{1, 1, 1}, categories: writeKeyspace, summary: "lets a key expire in milliseconds; NX, XX, GT, LT", run: onExpire},
		{name: "expireat", arity: -3, flags: fastWriteFlags, positions: positions{1, 1, 1}, categories: writeKeyspace, summary: "lets a key expire at a second; NX, XX, GT, LT", run: onExpire},
		{name: "pexpireat", arity: -3, flags: fastWriteFlags, positions: positions{1, 1, 1}, categories: writeKeyspace, summary: "lets a key expire at a millisecond; NX, XX, GT, LT", run: onExpire},
		{name: "persist", arity: 2, flags: fastWriteFlags, positions: positions{1, 1, 1}, categories: writeKeyspace, summary: "takes the expiry off a key", run: onPersist},
		{name: "ttl", arity: 2, flags: readFlags, positions: positions{1, 1, 1}, categories: readKeyspace, summary: "seconds until a key expires; -1 never, -2 no such key", run: onTTL(1000, false)},
		{name: "pttl", arity: 2, flags: readFlags, positions: positions{1, 1, 1}, categories: readKeyspace, summary: "milliseconds until a key expires", run: onTTL(1, false)},
		{name: "expiretime", arity: 2, flags: readFlags, positions: positions{1, 1, 1}, categories: readKeyspace, summary: "the second at which a key expires", run: onTTL(1000, true)},
		{name: "pexpiretime", arity: 2, flags: readFlags, positions: positions{1, 1, 1}, categories: readKeyspace, summary: "the millisecond at which a key expires", run: onTTL(1, true)},
		{name: "scan", arity: -2, flags: []string{"readonly"}, categories: []string{"@keyspace", "@read", "@slow"}, summary: "keys in pages; MATCH, COUNT, TYPE; cursors are valid on every node", run: onScan},
		{name: "dbsize", arity: 1, flags: readFlags, categories: readKeyspace, summary: "how many keys there are; reads all of them", run: onDBSize},
	}
}

// onDel removes each key once, however often it is named.
func onDel(ctx context.Context, c *conn, args [][]byte) error {
	seen := make(map[string]bool, len(args)-1)
	var ops []api.Op
	for _, key := range args[1:] {
		if !seen[string(key)] {
			seen[string(key)] = true
			ops = append(ops, api.Op{Kind: api.OpDelete, Key: key})
		}
	}
	results, err := c.server.opts.Store.ApplyEach(ctx, api.Batch{Ops: ops})
	if err != nil {
		return err
	}
	removed := int64(0)
	for _, r := range results {
		if r.Existed {
			removed++
		}
	}
	c.out.integer(removed)
	return nil
}

// onExists counts a key as often as it is named.
func onExists(ctx context.Context, c *conn, args [][]byte) error {
	items, err := c.server.opts.Store.Read(ctx, server.Query{Keys: args[1:]})
	if err != nil {
		return err
	}
	count := int64(0)
	for _, item := range items {
		if item.Found {
			count++
		}
	}
	c.out.integer(count)
	return nil
}

func onType(ctx context.Context, c *conn, args [][]byte) error {
	item, err := c.get(ctx, args[1])
	switch {
	case err != nil:
		return err
	case item.Found:
		c.out.simple("string")
	default:
		c.out.simple("none")
	}
	return nil
}

// onTTL makes the handlers of TTL and its kin.
func onTTL(unit uint64, absolute bool) func(context.Context, *conn, [][]byte) error {
	return func(ctx context.Context, c *conn, args [][]byte) error {
		item, err := c.get(ctx, args[1])
		if err != nil {
			return err
		}
		now := clock.Millis(c.server.opts.Clock)
		switch {
		case !item.Found:
			c.out.integer(-2)
		case item.ExpiryMillis == 0:
			c.out.integer(-1)
		case absolute:
			c.out.integer(int64((item.ExpiryMillis + unit/2) / unit))
		case item.ExpiryMillis <= now:
			c.out.integer(0) // the shard's time is a little behind this node's clock
		default:
			c.out.integer(int64((item.ExpiryMillis - now + unit/2) / unit))
		}
		return nil
	}
}

func onDBSize(ctx context.Context, c *conn, _ [][]byte) error {
	count, err := c.server.opts.Store.Count(ctx, 0)
	if err != nil {
		return err
	}
	c.out.integer(int64(count))
	return nil
}

// scanOptions are SCAN's arguments.
type scanOptions struct {
	cursor uint64
	count  int
	match  *glob
	nobody bool // TYPE names a type that no key has
}

// defaultScanCount is Redis' own.
const defaultScanCount = 10

func parseScan(args [][]byte) (scanOptions, error) {
	o := scanOptions{count: defaultScanCount}
	cursor, err := strconv.ParseUint(string(args[1][:min(len(args[1]), maxNameBytes)]), 10, 64)
	if err != nil {
		return o, replyError("ERR invalid cursor")
	}
	o.cursor = cursor
	for i := 2; i < len(args); i += 2 {
		if i+1 == len(args) {
			return o, errSyntax
		}
		switch strings.ToLower(string(args[i][:min(len(args[i]), maxNameBytes)])) {
		case "match":
			o.match = newGlob(args[i+1])
		case "count":
			n, ok := parseNumber(args[i+1])
			if !ok {
				return o, errNotInteger
			}
			if n < 1 {
				return o, errSyntax
			}
			o.count = int(min(n, api.MaxScanPageItems))
		case "type":
			o.nobody = !strings.EqualFold(string(args[i+1]), "string")
		default:
			return o, errSyntax
		}
	}
	return o, nil
}

func onScan(ctx context.Context, c *conn, args [][]byte) error {
	o, err := parseScan(args)
	if err != nil {
		return err
	}
	if o.nobody {
		c.scanReply(0, nil)
		return nil
	}
	var prefix []byte
	if o.match != nil {
		prefix = o.match.literalPrefix()
	}
	if len(prefix) > api.MaxKeyBytes {
		c.scanReply(0, nil) // longer than any key
		return nil
	}
	page, err := c.server.opts.Store.ScanCursor(ctx, 0, o.cursor, o.count, prefix)
	if err != nil {
		return err
	}
	keys := page.Keys
	if o.match != nil {
		keys = keys[:0]
		for _, key := range page.Keys {
			matched, err := o.match.match(key)
			if err != nil {
				return replyError("ERR " + err.Error())
			}
			if matched {
				keys = append(keys, key)
			}
		}
	}
	c.scanReply(page.Next, keys)
	return nil
}

func (c *conn) scanReply(next uint64, keys [][]byte) {
	c.out.array(2)
	c.out.bulkString(strconv.FormatUint(next, 10))
	c.out.array(len(keys))
	for _, key := range keys {
		c.out.bulk(key)
	}
}
