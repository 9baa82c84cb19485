package client

import (
	"context"
	"errors"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/router"
)

// PutOptions refines a Put. The zero value writes unconditionally and without expiry.
type PutOptions struct {
	Expiry         api.Expiry
	Condition      api.Condition
	ReturnPrevious bool
	// Request makes it possible to retry an unknown outcome later; see NewRequest.
	Request api.RequestID
}

// ExpireAfter is an expiry d from the moment at which the write is applied, by the cluster's time.
func ExpireAfter(d time.Duration) api.Expiry {
	return api.Expiry{Mode: api.ExpiryAfter, Millis: uint64(max(d.Milliseconds(), 0))}
}

// Apply implements api.KV.
//
// Every attempt is made under one request id, so that the batch runs at most once. The id is
// b.Request if the caller has set it, and else one that is given up when Apply returns. An error
// that matches api.ErrUnknownOutcome means that the context ended, or the client was closed,
// while an attempt that may have run, or may still run, had no answer. Only a caller with an id
// of its own can then find out: by Apply under the same id. The batch may have run, too, when the
// error matches api.ErrReleased or api.ErrInternal, and after no other error: the error table's
// Outcome says so.
func (c *Client) Apply(ctx context.Context, b api.Batch) (api.Result, error) {
	if _, refusal := evaluate.Check(&b); refusal != nil {
		return api.Result{}, refusal
	}
	own := b.Request.IsZero()
	if own {
		id, release := c.sessions.Begin()
		defer release()
		b.Request = id
	}
	request := batchRequest(b)
	op := &operation{name: "apply", write: true, routed: true, slot: router.Slot(b.Namespace, b.Ops[0].Key)}
	var response *pb.BatchResponse
	err := c.do(ctx, op, func(ctx context.Context, to *connection, o callOptions) error {
		var err error
		response, err = to.kv.Batch(ctx, request, o...)
		return err
	})
	if own && op.attempts == 1 && errors.Is(err, api.ErrReleased) {
		// Nobody can have released an id that is new: to the shard its session is too old.
		err = api.Errorf(api.CodeReleased, "apply: a new request id is refused, so nothing was executed; "+
			"is this machine's clock more than half an hour slow? %w", err)
	}
	if err != nil {
		return api.Result{}, err
	}
	return batchResult(response, len(b.Ops))
}

// Put writes one key. Result.Applied is false when the condition did not hold.
func (c *Client) Put(ctx context.Context, ns api.Namespace, key, value []byte, o PutOptions) (api.Result, error) {
	return c.Apply(ctx, api.Batch{
		Namespace: ns, Request: o.Request,
		Ops: []api.Op{{
			Kind: api.OpPut, Key: key, Value: value,
			Expiry: o.Expiry, Condition: o.Condition, ReturnPrevious: o.ReturnPrevious,
		}},
	})
}

// Delete removes one key and reports whether it existed.
func (c *Client) Delete(ctx context.Context, ns api.Namespace, key []byte) (existed bool, err error) {
	result, err := c.Apply(ctx, api.Batch{Namespace: ns, Ops: []api.Op{{Kind: api.OpDelete, Key: key}}})
	if err != nil {
		return false, err
	}
	return result.Ops[0].Existed, nil
}

// Increment adds delta to a decimal 64-bit integer, an absent key counting as 0, and returns the
// sum. It fails with api.ErrNotInteger for any other value and when the sum would overflow.
func (c *Client) Increment(ctx context.Context, ns api.Namespace, key []byte, delta int64) (int64, error) {
	result, err := c.Apply(ctx, api.Batch{
		Namespace: ns, Ops: []api.Op{{Kind: api.OpIncrement, Key: key, Delta: delta}},
	})
	if err != nil {
		return 0, err
	}
	return result.Ops[0].Number, nil
}
