package resp

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/server"
	"github.com/lightning-db/lightning/server/resp/plan"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// transactionCommands are rows about blocks of commands that are one write.
func transactionCommands() []*command {
	flags := append(connectionFlags, "allow_busy")
	categories := []string{"@fast", "@transaction"}
	return []*command{
		{name: "multi", arity: 1, flags: flags, categories: categories, group: "transactions", since: "1.2.0",
			summary: "begins a block of commands", run: onMulti,
			differs: "the keys of a block must share a shard, else EXEC answers CROSSSLOT and nothing is done; commands about all keys are refused in it"},
		{name: "exec", arity: 1, flags: []string{"noscript", "loading", "stale", "skip_slowlog"}, categories: []string{"@slow", "@transaction"}, group: "transactions", since: "1.2.0",
			summary: "runs the block as one write", run: onExec,
			differs: "refused, and nothing is done, if the values that the block reads and the stored ones that it copies or changes are together over 8 MiB"},
		{name: "discard", arity: 1, flags: flags, categories: categories, group: "transactions", since: "2.0.0",
			summary: "ends the block without running it", run: onDiscard},
		{name: "watch", arity: -2, flags: flags, positions: positions{1, -1, 1}, categories: categories, group: "transactions", since: "2.2.0",
			summary: "lets the next block run only if the keys do not change before", run: onWatch,
			differs: "compares versions at EXEC, so that a key that was absent, came and went has not changed"},
		{name: "unwatch", arity: 1, flags: flags, categories: categories, group: "transactions", since: "2.2.0",
			summary: "forgets the watched keys", run: onUnwatch, queued: true},
	}
}

// runsInBlock are the commands that run at once between MULTI and EXEC.
var runsInBlock = map[string]bool{"exec": true, "discard": true, "multi": true, "watch": true, "quit": true, "reset": true}

// block is what a client has queued since MULTI.
type block struct {
	commands []queuedCommand
	broken   bool // a command was refused: EXEC runs nothing
}

type queuedCommand struct {
	cmd  *command
	args [][]byte
}

// watchedKey is a key as WATCH found it.
type watchedKey struct {
	key     []byte
	version api.Version
}

// queuedOverheadBytes is what a queued command costs beside its arguments.
const queuedOverheadBytes = 64

// add queues a command that has been admitted.
func (b *block) add(c *conn, cmd *command, q wire.Request) error {
	if cmd.run != nil && !cmd.queued {
		return wire.Error("ERR " + strings.ToUpper(cmd.name) + " is not allowed inside a transaction: it is not about named keys, and a transaction is one write to one shard")
	}
	if err := c.hold(q.Bytes + queuedOverheadBytes); err != nil {
		return err
	}
	b.commands = append(b.commands, queuedCommand{cmd, q.Args})
	return nil
}

// hold counts bytes that the connection keeps until its block ends (U5).
func (c *conn) hold(bytes int) error {
	if c.held+int64(bytes) > wire.MaxCommandBytes {
		return api.Errorf(api.CodeTooLarge, "a transaction of more than %d bytes is over the limit", wire.MaxCommandBytes)
	}
	s := c.server
	if s.queued.Add(int64(bytes)) > s.opts.MaxQueuedBytes {
		s.queued.Add(-int64(bytes))
		return api.Errorf(api.CodeOverloaded, "the open transactions of all connections hold too much memory; try again")
	}
	c.held += int64(bytes)
	return nil
}

// endBlock forgets the block and the watched keys.
func (c *conn) endBlock() {
	c.block, c.watched = nil, nil
	c.server.queued.Add(-c.held)
	c.held = 0
}

const execAbort = "EXECABORT Transaction discarded because of"

// reject notes that cmd is refused before it ran: that breaks the block, or ends it if cmd was to.
func (c *conn) reject(cmd *command, err error) error {
	if cmd != nil && cmd.name == "exec" {
		c.endBlock()
		return wire.Coded(wire.Error(execAbort+": "+strings.TrimPrefix(wire.ErrorText(err), "ERR ")), codeOf(err))
	}
	if c.block != nil {
		c.block.broken = true
	}
	return err
}

func onMulti(_ context.Context, c *conn, _ [][]byte) error {
	if c.block != nil {
		return wire.Error("ERR MULTI calls can not be nested")
	}
	c.block = &block{}
	c.out.OK()
	return nil
}

func onDiscard(_ context.Context, c *conn, _ [][]byte) error {
	if c.block == nil {
		return wire.Error("ERR DISCARD without MULTI")
	}
	c.endBlock()
	c.out.OK()
	return nil
}

func onUnwatch(_ context.Context, c *conn, _ [][]byte) error {
	c.watched = nil
	if c.block == nil {
		c.endBlock()
	}
	c.out.OK()
	return nil
}

// onWatch remembers the versions of the keys. A key that is watched already keeps its first one.
func onWatch(ctx context.Context, c *conn, args [][]byte) error {
	if c.block != nil {
		return wire.Error("ERR WATCH inside MULTI is not allowed")
	}
	var keys [][]byte
	size := 0
	for _, key := range args[1:] {
		if !c.watches(key) {
			keys = append(keys, key)
			size += len(key) + queuedOverheadBytes
		}
	}
	if len(c.watched)+len(keys) > maxWatched {
		return api.Errorf(api.CodeTooLarge, "more than %d watched keys are over the limit", maxWatched)
	}
	if len(keys) > 0 {
		items, err := c.server.opts.Store.Read(ctx, server.Query{Keys: keys})
		if err != nil {
			return err
		}
		if err := c.hold(size); err != nil {
			return err
		}
		for i, item := range items {
			c.watched = append(c.watched, watchedKey{keys[i], item.Version})
		}
	}
	c.out.OK()
	return nil
}

// maxWatched bounds the keys that a connection watches; watches goes through them.
const maxWatched = 1024

func (c *conn) watches(key []byte) bool {
	for _, w := range c.watched {
		if bytes.Equal(w.key, key) {
			return true
		}
	}
	return false
}

// element is one command of a block on its way to its reply.
type element struct {
	queuedCommand
	plan       plan.Plan
	err        error // of planning
	start, end int   // its operations in the batch
}

// onExec makes one independent batch of the block: first the watched keys' versions, then the
// operations of every command. Nothing is written to the client before its outcome is known.
func onExec(ctx context.Context, c *conn, _ [][]byte) error {
	b := c.block
	if b == nil {
		return wire.Error("ERR EXEC without MULTI")
	}
	defer c.endBlock()
	if b.broken {
		return wire.Error("EXECABORT Transaction discarded because of previous errors.")
	}
	if c.server.opts.Cluster && !c.blockHasOneSlot() {
		return errCrossSlot
	}
	e := plan.Env{NowMillis: clock.Millis(c.server.opts.Clock)}
	elements, batch := c.planBlock(e)
	var res api.Result
	if len(batch.Ops) > 0 {
		var err error
		if res, err = c.server.opts.Store.Apply(ctx, batch); err != nil {
			return err
		}
		if !res.Applied {
			c.out.NullArray()
			return nil
		}
		if err := c.holdResults(res.Ops, !slices.ContainsFunc(batch.Ops, func(op api.Op) bool {
			return op.Kind != api.OpGet && op.Kind != api.OpCheck
		}), false); err != nil {
			return err
		}
	}
	e.NowMillis = clock.Millis(c.server.opts.Clock)
	c.out.Array(len(elements))
	for i := range elements {
		c.answer(e, &elements[i], res.Ops)
		elements[i] = element{} // its arguments are not needed any more
	}
	return nil
}

// planBlock plans every command and joins the plans into one batch.
func (c *conn) planBlock(e plan.Env) ([]element, api.Batch) {
	batch := api.Batch{Independent: true}
	for _, w := range c.watched {
		batch.Ops = append(batch.Ops, api.Op{Kind: api.OpCheck, Key: w.key, Condition: api.Condition{Kind: api.ConditionVersion, Version: w.version}})
	}
	elements := make([]element, len(c.block.commands))
	for i, q := range c.block.commands {
		el := element{queuedCommand: q, start: len(batch.Ops)}
		if q.cmd.plan != nil {
			el.plan, el.err = q.cmd.plan(e, q.args)
		}
		if el.err == nil { // what is refused writes nothing
			batch.Ops = append(batch.Ops, el.plan.Ops...)
		}
		el.end = len(batch.Ops)
		elements[i] = el
	}
	return elements, batch
}

// answer writes the reply of one command of a block; its error is an element like any other.
func (c *conn) answer(e plan.Env, el *element, results []api.OpResult) {
	err := el.err
	switch {
	case err != nil:
	case el.cmd.plan != nil:
		err = el.plan.Finish(e, &c.out, results[el.start:el.end])
	default:
		err = c.call(el.cmd, el.args)
	}
	if err != nil {
		c.out.Fail(err)
	}
	c.server.stats.count(el.cmd, true, err, 0)
}

// blockHasOneSlot reports whether the block's keys, the watched ones too, share a slot.
func (c *conn) blockHasOneSlot() bool {
	var s slotOf
	for _, w := range c.watched {
		s.add(router.Slot(0, w.key))
	}
	for _, q := range c.block.commands {
		s.addKeys(q.cmd, q.args)
	}
	return !s.several
}
