package resp

import (
	"context"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/glob"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// keyspaceCommands are rows about all keys.
func keyspaceCommands() []*command {
	const (
		ordered = "keys come in their order; a pattern that is too expensive is refused; "
		apart   = "the shards are asked one by one, so the answer is not one snapshot; not in MULTI"
		flushed = "keys that are written meanwhile may stay; ASYNC and SYNC are the same; not in MULTI"
	)
	reads, removes := []string{"readonly"}, []string{"write"}
	slowRead, dangerous := []string{"@keyspace", "@read", "@slow"}, []string{"@keyspace", "@write", "@slow", "@dangerous"}
	return []*command{
		{name: "scan", arity: -2, flags: reads, categories: slowRead, group: "generic", since: "2.8.0", summary: "keys in pages; MATCH, COUNT, TYPE", run: onScan,
			differs: ordered + "a cursor is valid on every node; COUNT counts up to 1024; not in MULTI"},
		{name: "keys", arity: 2, flags: reads, categories: append(slowRead[:3:3], "@dangerous"), group: "generic", since: "1.0.0", summary: "the keys that match a pattern", run: onKeys,
			differs: ordered + "so is an answer of more than 64 MiB; " + apart},
		{name: "randomkey", arity: 1, flags: reads, categories: slowRead, group: "generic", since: "1.0.0", summary: "some key", run: onRandomKey,
			differs: "not every key is equally likely; not in MULTI"},
		{name: "dbsize", arity: 1, flags: []string{"readonly", "fast"}, categories: []string{"@keyspace", "@read", "@fast"}, group: "server", since: "1.0.0", summary: "how many keys there are", run: onDBSize,
			differs: "reads all keys, so it takes long; does not count what has expired; " + apart},
		{name: "flushdb", arity: -1, flags: removes, categories: dangerous, group: "server", since: "1.0.0", summary: "removes all keys; ASYNC, SYNC", run: onFlush, differs: flushed},
		{name: "flushall", arity: -1, flags: removes, categories: dangerous, group: "server", since: "1.0.0", summary: "as FLUSHDB", run: onFlush, differs: flushed},
	}
}

// keyOverheadBytes is about what holding a key for a reply takes beside the key's own bytes.
const keyOverheadBytes = 48

// onKeys collects the keys first, because their number comes before them in the reply. That takes
// memory as a large command does, so it waits for the same room (U3).
func onKeys(ctx context.Context, c *conn, args [][]byte) error {
	pattern := glob.New(args[1])
	prefix := pattern.LiteralPrefix()
	if len(prefix) > api.MaxKeyBytes {
		c.out.Array(0) // longer than any key
		return nil
	}
	r := api.PrefixRange(prefix)
	r.KeysOnly = true
	var keys [][]byte
	bytes, reserved, before := 0, wire.LargeCommandBytes, c.heldLarge
	for item, err := range c.server.opts.Store.Scan(ctx, r) {
		if err != nil {
			return err
		}
		ok, err := pattern.Match(item.Key)
		if err != nil {
			return wire.Error("ERR " + err.Error())
		}
		if !ok {
			continue
		}
		keys = append(keys, item.Key)
		if bytes += len(item.Key) + keyOverheadBytes; bytes > api.MaxReplyBytes {
			return api.Errorf(api.CodeTooLarge, "the keys that match are over the limit of %d bytes; use SCAN", api.MaxReplyBytes)
		}
		if bytes > reserved {
			if err := c.reserveLarge(reserved); err != nil {
				return err
			}
			reserved *= 2
		}
	}
	if err := c.holdReply(bytes); err != nil {
		return err
	}
	c.server.large.give(c.heldLarge - before) // who does not read its reply keeps no other KEYS waiting
	c.heldLarge = before
	c.out.Array(len(keys))
	for _, key := range keys {
		c.out.Bulk(key)
	}
	return nil
}

func onRandomKey(ctx context.Context, c *conn, _ [][]byte) error {
	key, found, err := c.server.opts.Store.RandomKey(ctx, 0)
	switch {
	case err != nil:
		return err
	case found:
		c.out.Bulk(key)
	default:
		c.out.Null()
	}
	return nil
}

func onDBSize(ctx context.Context, c *conn, _ [][]byte) error {
	count, err := c.server.opts.Store.Count(ctx, 0)
	if err == nil {
		c.out.Integer(int64(count))
	}
	return err
}

// onFlush is FLUSHDB and FLUSHALL.
func onFlush(ctx context.Context, c *conn, args [][]byte) error {
	if len(args) > 2 {
		return wire.ErrSyntax
	}
	if len(args) == 2 {
		if word := wire.Option(args[1]); word != "async" && word != "sync" {
			return wire.ErrSyntax
		}
	}
	err := c.server.opts.Store.Clear(ctx, 0)
	if err == nil {
		c.out.OK()
	}
	return err
}
