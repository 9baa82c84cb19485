package shard

import (
	"context"
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/rows"
)

// ReadsOnly reports whether a command can change nothing. Such a command needs no entry of the
// log, and no request id: it may run twice.
func (c *Command) ReadsOnly() bool { return evaluate.ReadsOnly(&c.Batch) }

// readBatch evaluates a command that only reads, linearizably and in one snapshot.
func (r *reader) readBatch(ctx context.Context, c *Command) (api.Result, error) {
	var result api.Result
	err := r.read(ctx, c.Epoch, func(v *view) error {
		if refusal := v.state.checkOwnership(c); refusal != nil {
			return refusal
		}
		e := evaluate.Evaluator{Version: v.at, Lookup: func(key []byte) (evaluate.Row, error) {
			return v.row(rows.Key(c.Batch.Namespace, key))
		}}
		var refusal *api.Error
		var err error
		if result, refusal, err = e.Run(&c.Batch); refusal != nil {
			return refusal
		}
		result.Version = 0 // nothing was written
		return err
	})
	if err != nil {
		return api.Result{}, err
	}
	return result, nil
}

// row is a live row of the view.
func (v *view) row(engineKey []byte) (evaluate.Row, error) {
	found, ok, err := v.snapshot.Get(engineKey, engine.MaxVersion)
	if err != nil {
		return evaluate.Row{}, fmt.Errorf("read a row: %w", err)
	}
	if !ok || !v.live(found.ExpiryMillis) {
		return evaluate.Row{}, nil
	}
	return rowOf(found)
}
