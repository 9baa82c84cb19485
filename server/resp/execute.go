package resp

import (
	"context"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/server"
	"github.com/lightning-db/lightning/server/resp/plan"
)

// execute runs one command on named keys.
func (c *conn) execute(ctx context.Context, cmd *command, args [][]byte) error {
	e := plan.Env{NowMillis: clock.Millis(c.server.opts.Clock)}
	p, err := cmd.plan(e, args)
	if err != nil {
		return err
	}
	results, err := c.results(ctx, &p)
	if err != nil {
		return err
	}
	if err := c.holdResults(results, p.ReadsOnly()); err != nil {
		return err
	}
	e.NowMillis = clock.Millis(c.server.opts.Clock)
	return p.Finish(e, &c.out, results)
}

func (c *conn) results(ctx context.Context, p *plan.Plan) ([]api.OpResult, error) {
	store := c.server.opts.Store
	batch := api.Batch{Ops: p.Ops, Independent: true}
	switch {
	case len(p.Ops) == 0:
		return nil, nil
	case p.ReadsOnly():
		return c.read(ctx, p.Ops)
	case p.Each:
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
