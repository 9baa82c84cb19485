package resp

import (
	"context"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/server"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// env is what planning a command may know beside its arguments.
type env struct {
	nowMillis uint64 // the node's clock; what must be exact is left to the shard's
}

// plan is what a command on named keys comes to: operations, and how their results become the
// reply. Making one does no I/O, so that a command means the same alone and in a MULTI block. The
// operations are steps of an independent batch: those that must hold together are Joined.
type plan struct {
	ops []api.Op
	// each lets the operations run on several shards, each shard's for itself. Otherwise keys
	// that live on several are refused as CROSSSLOT before anything is proposed.
	each bool
	// reply writes the answer, or fails before it has written anything. results are those of ops.
	// It is not called if an operation failed with a code that tolerates does not name.
	reply     func(e env, out *wire.Reply, results []api.OpResult) error
	tolerates api.Code
}

// readsOnly reports whether the plan can be answered without a write.
func (p *plan) readsOnly() bool {
	return !slices.ContainsFunc(p.ops, func(op api.Op) bool { return op.Kind != api.OpGet })
}

// finish writes the reply.
func (p *plan) finish(e env, out *wire.Reply, results []api.OpResult) error {
	for i := range results {
		if code := results[i].Code; code != "" && code != p.tolerates {
			return &api.Error{Code: code}
		}
	}
	return p.reply(e, out, results)
}

// execute runs one command on named keys.
func (c *conn) execute(ctx context.Context, cmd *command, args [][]byte) error {
	e := env{nowMillis: clock.Millis(c.server.opts.Clock)}
	p, err := cmd.plan(e, args)
	if err != nil {
		return err
	}
	results, err := c.results(ctx, &p)
	if err != nil {
		return err
	}
	e.nowMillis = clock.Millis(c.server.opts.Clock)
	return p.finish(e, &c.out, results)
}

func (c *conn) results(ctx context.Context, p *plan) ([]api.OpResult, error) {
	store := c.server.opts.Store
	batch := api.Batch{Ops: p.ops, Independent: true}
	switch {
	case len(p.ops) == 0:
		return nil, nil
	case p.readsOnly():
		return c.read(ctx, p.ops)
	case p.each:
		return store.ApplyEach(ctx, batch)
	}
	res, err := store.Apply(ctx, batch)
	return res.Ops, err
}

// read answers operations that only read without a write.
func (c *conn) read(ctx context.Context, ops []api.Op) ([]api.OpResult, error) {
	q := server.Query{Keys: make([][]byte, len(ops))}
	for i := range ops {
		q.Keys[i] = ops[i].Key
	}
	items, err := c.fetch(ctx, q)
	if err != nil {
		return nil, err
	}
	results := make([]api.OpResult, len(items))
	for i, item := range items {
		results[i] = api.OpResult{
			Applied: true, Existed: item.Found, Previous: item.Value, PreviousVersion: item.Version,
			PreviousExpiry: item.ExpiryMillis, Number: int64(len(item.Value)),
		}
	}
	return results, nil
}

// fetch reads keys, after READONLY from the replica on this node if it can prove to be fresh
// enough; if it cannot, the client is sent to the leader.
func (c *conn) fetch(ctx context.Context, q server.Query) ([]api.Item, error) {
	store := c.server.opts.Store
	if c.stale {
		stale := q
		stale.MaxStaleness, stale.Here = c.server.opts.StaleReadBound, true
		items, err := store.Read(ctx, stale)
		if api.CodeOf(err) != api.CodeTooStale {
			return items, err
		}
		if moved := c.tooStale(q.Keys[0]); moved != nil {
			return nil, moved
		}
	}
	return store.Read(ctx, q)
}
