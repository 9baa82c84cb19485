package client

import (
	"context"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/rows"
)

// Apply implements api.KV. The context is looked at once: a write that has begun is finished. An
// error that matches api.ErrStoreFailed leaves open whether the batch will be found after a crash.
func (e *embedded) Apply(ctx context.Context, b api.Batch) (api.Result, error) {
	if err := e.enter(ctx, b.Namespace); err != nil {
		return api.Result{}, err
	}
	defer e.calls.leave()
	if _, refusal := evaluate.Check(&b); refusal != nil {
		return api.Result{}, refusal
	}
	if b.Request.IsZero() && b.Request != (api.RequestID{}) || b.Request.Floor > b.Request.Sequence {
		return api.Result{}, api.Errorf(api.CodeInvalid, "a request id needs a sequence from 1 on, and a floor that is not above it")
	}
	apply := e.applyOnce
	if evaluate.ReadsOnly(&b) {
		apply = e.readBatch
	}
	result, err := apply(&b)
	if err != nil {
		return api.Result{}, err
	}
	// One result for each operation, as Client.Apply has them, also when the batch ended early.
	result.Ops = append(result.Ops, make([]api.OpResult, len(b.Ops)-len(result.Ops))...)
	if !e.opts.FlushWrites {
		return result, nil
	}
	if err := e.flushTo(e.applied.Load()); err != nil {
		return api.Result{}, err
	}
	return result, nil
}

// applyOnce answers a request that it has seen before without running it again (K6).
func (e *embedded) applyOnce(b *api.Batch) (api.Result, error) {
	e.write.Lock()
	defer e.write.Unlock()
	if b.Request.IsZero() {
		result, refusal, err := e.evaluateLocked(b)
		if refusal != nil {
			return api.Result{}, refusal
		}
		return result, err
	}
	known, refusal := e.write.answers.admit(b.Request)
	if refusal != nil {
		return api.Result{}, refusal
	}
	if known == nil {
		result, refusal, err := e.evaluateLocked(b)
		if err != nil {
			return api.Result{}, err
		}
		known = e.write.answers.keep(b.Request, result, refusal)
	}
	if known.refusal != nil {
		return api.Result{}, known.refusal
	}
	return cloneResult(known.result), nil
}

// readBatch runs a batch that changes nothing, in one snapshot.
func (e *embedded) readBatch(b *api.Batch) (api.Result, error) {
	snapshot, at := e.view()
	defer snapshot.Close()
	run := evaluate.Evaluator{Version: at, Lookup: lookup(snapshot, b.Namespace)}
	result, refusal, err := run.Run(b)
	result.Version = 0 // nothing was written
	if refusal != nil {
		return api.Result{}, refusal
	}
	return result, wrapEngine(err)
}

// getter is an engine or a snapshot of one.
type getter interface {
	Get(key []byte, at engine.Version) (engine.Row, bool, error)
}

// lookup finds rows for an evaluation.
func lookup(from getter, ns api.Namespace) func(key []byte) (evaluate.Row, error) {
	return func(key []byte) (evaluate.Row, error) {
		row, ok, err := from.Get(rows.Key(ns, key), engine.MaxVersion)
		if err != nil || !ok {
			return evaluate.Row{}, err
		}
		value, err := rows.DecodeValue(row.Value)
		return evaluate.Row{Value: value, Version: api.Version(row.Version), ExpiryMillis: row.ExpiryMillis, Live: true}, err
	}
}

// evaluateLocked runs a batch. A refusal is the batch's own fault, err the engine's.
func (e *embedded) evaluateLocked(b *api.Batch) (_ api.Result, refusal *api.Error, err error) {
	run := evaluate.Evaluator{Version: e.stampLocked(), Lookup: lookup(e.db, b.Namespace)}
	defer e.settle()
	result, refusal, err := run.Run(b)
	if refusal != nil || err != nil || len(run.Writes()) == 0 {
		return result, refusal, wrapEngine(err)
	}
	batch := e.write.batch
	batch.Reset()
	version := engine.Version(run.Version)
	for _, w := range run.Writes() {
		key := rows.Key(b.Namespace, w.Key)
		if w.Row.Live {
			batch.Put(key, rows.EncodeValue(w.Row.Value), version, w.Row.ExpiryMillis)
		} else {
			batch.Delete(key, version)
		}
	}
	// Reads never judge by an earlier time than this again, so the engine may drop what has expired.
	batch.SetHorizon(engine.Horizon{ExpiryMillis: run.Version.Millis()})
	err = e.db.Apply(batch)
	e.applied.Add(1)
	if err != nil {
		return api.Result{}, nil, engineError(err)
	}
	return result, nil, nil
}

func wrapEngine(err error) error {
	if err == nil {
		return nil
	}
	return engineError(err)
}
