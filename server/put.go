package server

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/shard"
)

// Put is one value to be written whose bytes come piece by piece.
type Put struct {
	Namespace api.Namespace
	Key       []byte
	Expiry    api.Expiry
	Condition api.Condition
	// Request protects retries; zero: it gets an id for as long as it runs.
	Request api.RequestID
}

// maxPutBytes is what a put holds of its value: what may yet be inline, and the parts on their way.
const maxPutBytes = api.MaxInlineBytes + (maxRequestStaging+2)*api.MaxPartBytes

// PutValue writes a value of up to api.MaxValueBytes that comes from next piece by piece; io.EOF stands behind
// the last one, and a piece is the caller's again at the next call. It holds a bounded part of the value. The
// result is that of a batch of one put, without the value before. An error of next ends the put, which is not
// executed, and is returned as it is. PARTS_MISSING: another try of the same request took the parts
// away; it is not executed, and may be sent again under the same request id.
func (s *Server) PutValue(ctx context.Context, p Put, next func() ([]byte, error)) (api.Result, error) {
	b := api.Batch{
		Namespace: p.Namespace, Request: p.Request,
		Ops: []api.Op{{Kind: api.OpPut, Key: p.Key, Expiry: p.Expiry, Condition: p.Condition}},
	}
	if _, err := checkBatch(&b); err != nil {
		return api.Result{}, err
	}
	ctx, leave, err := s.gate.enter(ctx, int64(len(p.Key)+maxPutBytes))
	if err != nil {
		return api.Result{}, err
	}
	defer leave()
	ctx, cancel := s.withPartsTime(ctx, maxInPartsTime)
	defer cancel()
	value := pieces{next: next}
	head, err := value.take(api.MaxInlineBytes + 1)
	if err != nil {
		return api.Result{}, err
	}
	if len(head) <= api.MaxInlineBytes {
		b.Ops[0].Value = head
		return s.applyBatch(ctx, b)
	}
	value.rest = append(head, value.rest...)
	return s.putInParts(ctx, b, &value)
}

// withPartsTime is withDeadline for a request in parts, which gets another time if its caller has set no
// deadline.
func (s *Server) withPartsTime(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); !ok {
		return context.WithTimeout(ctx, min(timeout, maxInPartsTime))
	}
	return s.withDeadline(ctx)
}

// batchTime is what a batch of so many bytes gets if its caller has set no deadline.
func (s *Server) batchTime(b *api.Batch, bytes int) time.Duration {
	if !inPieces(b) {
		return s.opts.Timeout
	}
	return s.opts.Timeout + time.Duration(bytes)*time.Second/stagedBytesPerSecond
}

// putInParts stages a value while it comes, and then writes it.
func (s *Server) putInParts(ctx context.Context, b api.Batch, value *pieces) (api.Result, error) {
	request := b.Request
	if b.Request = (api.RequestID{}); request.IsZero() {
		id, release := s.opts.Sessions.Begin()
		defer release()
		request = id
	}
	ctx, cancel := context.WithTimeout(ctx, maxInPartsTime)
	defer cancel()
	leave, err := s.stagingTurn(ctx)
	if err != nil {
		return api.Result{}, err
	}
	defer leave()
	value.next = s.paced(value.next)
	command := shard.Command{Request: request, DeadlineMillis: s.commandDeadline(ctx), Batch: b}
	key, whole := b.Ops[0].Key, &api.Parts{}
	err = s.stage(ctx, command, func(ctx context.Context, send func(stagedPart)) error {
		for {
			part, err := value.take(api.MaxPartBytes)
			switch {
			case err != nil || len(part) == 0:
				return err
			case ctx.Err() != nil:
				return api.Errorf(api.CodeExpired, "not executed: the time was over before the value had come: %w", context.Cause(ctx))
			}
			if whole.Bytes += uint64(len(part)); whole.Bytes > api.MaxValueBytes {
				return api.Errorf(api.CodeTooLarge, "the value is over the limit of %d bytes", api.MaxValueBytes)
			}
			send(stagedPart{key, whole.Count, part})
			whole.Count++
			whole.Checksum = api.AddPartSum(whole.Checksum, api.PartSum(part))
		}
	})
	if err != nil {
		s.unstage(ctx, command, key)
		return api.Result{}, err
	}
	command.Batch.Ops[0].Parts = whole
	res, err := s.applyCommand(ctx, write, command)
	if err != nil && api.Row(api.CodeOf(err)).Outcome == api.NotExecuted {
		s.unstage(ctx, command, key)
	}
	return res, err
}

// pieces cuts what comes piece by piece into others.
type pieces struct {
	next func() ([]byte, error)
	rest []byte
	over bool
}

// take is the next bytes, fewer than asked for only at the end. They are the caller's.
func (p *pieces) take(bytes int) ([]byte, error) {
	taken := make([]byte, 0, min(bytes, max(len(p.rest), api.MaxPartBytes)))
	for {
		n := min(bytes-len(taken), len(p.rest))
		taken = append(taken, p.rest[:n]...)
		if p.rest = p.rest[n:]; len(taken) == bytes || p.over {
			return taken, nil
		}
		piece, err := p.next()
		if p.rest = piece; errors.Is(err, io.EOF) {
			p.over = true
		} else if err != nil {
			return nil, err
		}
	}
}
