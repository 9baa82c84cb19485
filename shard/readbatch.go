package shard

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/rows"
)

// ReadsOnly reports whether a command can change nothing. Such a command needs no entry of the
// log, and no request id: it may run twice.
func (c *Command) ReadsOnly() bool { return evaluate.ReadsOnly(&c.Batch) }

// evaluate evaluates a command that only reads.
func (v *view) evaluate(c *Command) (_ api.Result, refusal *api.Error, err error) {
	if refusal := v.state.checkOwnership(c); refusal != nil {
		return api.Result{}, refusal, nil
	}
	e := evaluate.Evaluator{Version: v.at, Lookup: func(key []byte) (evaluate.Row, error) {
		return v.row(rows.Key(c.Batch.Namespace, key))
	}}
	result, refusal, err := e.Run(&c.Batch)
	result.Version = 0 // nothing was written
	return result, refusal, err
}

// row is a live row of the view.
func (v *view) row(engineKey []byte) (evaluate.Row, error) {
	found, ok, err := v.snapshot.Get(engineKey, v.rows)
	if err != nil {
		return evaluate.Row{}, fmt.Errorf("read a row: %w", err)
	}
	if !ok || !v.live(found.ExpiryMillis) {
		return evaluate.Row{}, nil
	}
	return rowOf(found)
}
