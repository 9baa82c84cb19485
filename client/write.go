package client

import (
	"context"
	"errors"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/router"
)

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
	bytes, refusal := evaluate.Check(&b)
	if refusal != nil {
		return api.Result{}, refusal
	}
	own := b.Request.IsZero()
	if own {
		id, release := c.sessions.Begin()
		defer release()
		b.Request = id
	}
	request := batchRequest(b)
	// The outcome of a batch that only reads is never unknown.
	op := &operation{name: "apply", write: !evaluate.ReadsOnly(&b), routed: true, slot: router.Slot(b.Namespace, b.Ops[0].Key)}
	var response *pb.BatchResponse
	err := c.do(ctx, op, func(ctx context.Context, to *connection, o callOptions) error {
		if seededbug.Enabled(seededbug.ClientNewRequestID) && op.attempts > 0 {
			b.Request, _ = c.sessions.Begin()
			request = batchRequest(b)
		}
		answer, err := to.call(ctx, &pb.Call{Request: &pb.Call_Batch{Batch: request}}, bytes+len(b.Ops)*callBytes)
		if response = answer.GetBatch(); err == errUnary {
			response, err = to.kv.Batch(ctx, request, o...)
		}
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
