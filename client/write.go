package client

import (
	"context"
	"errors"
	"io"

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
//
// A batch of more than api.MaxMessageValueBytes sends its long values beside the message, in chunks: each attempt
// then may take as long as these move, and a call without a deadline has a second more for each MiB.
func (c *Client) Apply(ctx context.Context, b api.Batch) (api.Result, error) {
	bytes, refusal := evaluate.Check(&b)
	if refusal != nil {
		return api.Result{}, refusal
	}
	if bytes > api.MaxMessageValueBytes {
		return c.apply(ctx, b, bytes, longValues(&b))
	}
	return c.apply(ctx, b, bytes, nil)
}

// apply runs a batch that has been checked. The values of long are sent in chunks.
func (c *Client) apply(ctx context.Context, b api.Batch, bytes int, long []longValue) (api.Result, error) {
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
	try := func(ctx context.Context, to *connection, o callOptions) error {
		if seededbug.Enabled(seededbug.ClientNewRequestID) && op.attempts > 0 {
			b.Request, _ = c.sessions.Begin()
			request = batchRequest(b)
		}
		answer, err := to.call(ctx, &pb.Call{Request: &pb.Call_Batch{Batch: request}}, bytes+len(b.Ops)*callBytes)
		if response = answer.GetBatch(); err == errUnary {
			response, err = to.kv.Batch(ctx, request, o...)
		}
		return err
	}
	if len(long) > 0 {
		u := newUpload(request, long)
		op.long, op.allowance, op.again = true, allowance(bytes), u.canRepeat
		try = func(ctx context.Context, to *connection, _ callOptions) (err error) {
			response, err = u.try(ctx, to, op.watch)
			return err
		}
	}
	err := c.do(ctx, op, try)
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

// PutFrom is the function PutFrom on this client. A long value is read in pieces of api.MaxChunkBytes,
// and what is in memory of it is no more than its first MiB and a few of these.
//
// An attempt that fails is repeated under the same request id if r is an io.Seeker that can go back.
// Otherwise the call ends with it: with api.ErrUnknownOutcome if the last piece had been sent, and
// with an error that says that nothing was executed if not. The context does not interrupt a Read.
func (c *Client) PutFrom(ctx context.Context, ns api.Namespace, key []byte, r io.Reader, o PutOptions) (api.Result, error) {
	from, err := readerSource(r)
	if err != nil {
		return api.Result{}, err
	}
	if value, ok := from.short(); ok {
		return c.Put(ctx, ns, key, value, o)
	}
	b := putBatch(ns, key, nil, o)
	if _, refusal := evaluate.Check(&b); refusal != nil {
		return api.Result{}, refusal
	}
	return c.apply(ctx, b, int(from.length), []longValue{{0, from}})
}
