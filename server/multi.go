package server

import (
	"context"
	"errors"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/router"
)

// replyBudget bounds the values of one answer, which is in memory whole, and counts them with those of
// all others that are being worked on.
type replyBudget struct {
	gate    *gate
	used    atomic.Int64
	counted atomic.Int64 // by the gate
	large   atomic.Bool  // some answer was long
}

// freeReplyBytes are not counted by the gate: the number of requests bounds them.
const freeReplyBytes = 64 << 10

func (b *replyBudget) add(n int) error {
	used := b.used.Add(int64(n))
	if used > api.MaxReplyBytes {
		return api.Errorf(api.CodeTooLarge, "the values asked for are together over the limit of %d bytes; ask for fewer keys at once", api.MaxReplyBytes)
	}
	more := min(int64(n), used-freeReplyBytes)
	if more <= 0 {
		return nil
	}
	if err := b.gate.grow(more); err != nil {
		return err
	}
	b.counted.Add(more)
	return nil
}

// release gives back what the gate counted, once nothing adds any more.
func (b *replyBudget) release() { b.gate.shrink(b.counted.Load()) }

// addItems adds the values of items.
func (b *replyBudget) addItems(items []api.Item) error {
	bytes := 0
	for i := range items {
		bytes += len(items[i].Value)
	}
	return b.add(bytes)
}

const (
	// maxGetKeys bounds the keys of one read of a shard, which is one snapshot held open.
	maxGetKeys = 1024
	// maxGetBytes is where an answer is full. With one more read, which a shard bounds to
	// api.MaxInlineBatchBytes, it still fits into a message.
	maxGetBytes = api.MaxWholeBytes / 2
)

// readKeys reads keys of one replica in one snapshot, one item for each.
type readKeys func(ctx context.Context, keys [][]byte) ([]api.Item, error)

// getSome reads the first of some keys: all of them, unless their values are large. A shard
// refuses a read whose values are together over its limit; then fewer keys are read.
func getSome(ctx context.Context, read readKeys, keys [][]byte) ([]api.Item, error) {
	var items []api.Item
	bytes, count := 0, maxGetKeys
	for len(items) < len(keys) && bytes < maxGetBytes {
		chunk := keys[len(items):min(len(items)+count, len(keys))]
		got, err := read(ctx, chunk)
		if errors.Is(err, api.ErrTooLarge) && len(chunk) > 1 {
			count = max(len(chunk)/4, 1)
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(got) != len(chunk) {
			return nil, api.Errorf(api.CodeInternal, "a replica answered %d of %d keys", len(got), len(chunk))
		}
		for i := range got {
			bytes += len(got[i].Value)
		}
		items = append(items, got...)
	}
	return items, nil
}

// steps are the operations of a batch that are applied together, as ranges of indexes.
type steps [][2]int

// stepsOf splits a batch. It refuses a step whose keys do not live on one shard now.
func (s *Server) stepsOf(b *api.Batch) (steps, error) {
	table := s.opts.Router.Table()
	if table == nil {
		return nil, errNoMap()
	}
	var all steps
	var home api.ShardID
	for i := range b.Ops {
		op := &b.Ops[i]
		id := table.ShardOf(router.Slot(b.Namespace, op.Key)).ID
		joined := op.Joined && i > 0
		if joined && id != home || op.HasSource() && table.ShardOf(router.Slot(b.Namespace, op.Source)).ID != id {
			return nil, errCrossShard()
		}
		if joined {
			all[len(all)-1][1] = i + 1
			continue
		}
		home = id
		all = append(all, [2]int{i, i + 1})
	}
	return all, nil
}

// applyParts runs the steps of a checked batch that need not be one: atomically per shard, in parallel
// over shards, each shard's in the order given. Operations that are Joined stay together, and must
// live on one shard. After an error some of the shards' operations may have been executed, and the
// error says so. ctx has a deadline.
func (s *Server) applyParts(ctx context.Context, b *api.Batch, results []api.OpResult) error {
	all, err := s.stepsOf(b)
	if err != nil {
		return err
	}
	groups, err := s.groups(b.Namespace, len(all), func(i int) []byte { return b.Ops[all[i][0]].Key })
	if err != nil {
		return err
	}
	errs := make([]error, len(groups))
	// No errgroup: the shards that can answer are to be done although another one cannot.
	var g errgroup.Group
	for n, group := range groups {
		g.Go(func() error {
			part := make(steps, len(group))
			for i, at := range group {
				part[i] = all[at]
			}
			errs[n] = s.applyGroup(ctx, b, part, results)
			return nil
		})
	}
	_ = g.Wait()
	return partialError(errs)
}

// applyGroup runs some steps of a batch as one batch, or one by one if they live on one shard no
// more.
func (s *Server) applyGroup(ctx context.Context, whole *api.Batch, part steps, results []api.OpResult) error {
	batch := api.Batch{Namespace: whole.Namespace, Independent: whole.Independent}
	for _, step := range part {
		batch.Ops = append(batch.Ops, whole.Ops[step[0]:step[1]]...)
	}
	res, err := s.applyBatch(ctx, batch)
	if api.CodeOf(err) == api.CodeCrossShard && len(part) > 1 { // not if it is why an outcome stays unknown
		errs := make([]error, len(part))
		for n := range part {
			errs[n] = s.applyGroup(ctx, whole, part[n:n+1], results)
		}
		return partialError(errs)
	}
	if err != nil {
		return err
	}
	for _, step := range part {
		n := copy(results[step[0]:step[1]], res.Ops)
		res.Ops = res.Ops[n:]
	}
	return nil
}

// partialError joins the errors of the shards. Only if every shard certainly executed nothing is
// that true of the whole.
func partialError(errs []error) error {
	var first error
	failed := 0
	mayHaveRun := false
	for _, err := range errs {
		if err == nil {
			continue
		}
		failed++
		runs := api.Row(api.CodeOf(err)).Outcome == api.MayHaveRun
		if first == nil || runs && !mayHaveRun {
			first = err
		}
		mayHaveRun = mayHaveRun || runs
	}
	if first == nil || len(errs) == 1 || failed == len(errs) && !mayHaveRun {
		return first
	}
	return api.Errorf(api.CodeUnknownOutcome, "%d of %d parts failed, the rest may have been executed: %w", failed, len(errs), first)
}
