package server

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/router"
)

// Clear deletes every key of a namespace that exists when it is called. Keys that are written
// meanwhile may stay. It reads the keys of all shards in pages and deletes each page in a few
// writes per shard. Each of these steps has the time of one request; the whole lasts as long as
// ctx. After an error some keys are deleted and some are not, and the error says so.
func (s *Server) Clear(ctx context.Context, ns api.Namespace) error {
	if err := checkNamespace(ns); err != nil {
		return err
	}
	table := s.opts.Router.Table()
	if table == nil {
		return errNoMap()
	}
	ctx, leave, err := s.gate.enter(ctx, int64(min(len(table.Shards()), maxParallelPages))*2*api.MaxScanPageBytes)
	if err != nil {
		return err
	}
	defer leave()
	shards := table.Shards()
	errs := make([]error, len(shards))
	var deleted atomic.Int64
	var g errgroup.Group // no context: the shards that can be cleared are to be
	g.SetLimit(maxParallelPages)
	for i, sh := range shards {
		g.Go(func() error {
			errs[i] = s.clearArc(ctx, sh.Arc, ns, &deleted)
			return nil
		})
	}
	_ = g.Wait()
	if err := partialError(errs); err != nil {
		if deleted.Load() == 0 || api.Row(api.CodeOf(err)).Outcome == api.MayHaveRun {
			return err
		}
		return api.Errorf(api.CodeUnknownOutcome, "%d keys were deleted and the rest may have been: %w", deleted.Load(), err)
	}
	return nil
}

// clearArc deletes the keys of an arc, a few at a time.
func (s *Server) clearArc(ctx context.Context, arc router.Arc, ns api.Namespace, deleted *atomic.Int64) error {
	pace := minClearKeys
	return s.walkArc(ctx, arc, api.Range{Namespace: ns, KeysOnly: true}, func(items []api.Item) (bool, error) {
		for len(items) > 0 {
			some := items[:min(pace, len(items))]
			items = items[len(some):]
			began := s.opts.Clock.Now()
			if err := s.clearKeys(ctx, ns, some); err != nil {
				return false, err
			}
			pace = nextPace(pace, s.opts.Clock.Now().Sub(began))
			deleted.Add(int64(len(some)))
		}
		return true, nil
	})
}

func (s *Server) clearKeys(ctx context.Context, ns api.Namespace, items []api.Item) error {
	ops := make([]api.Op, len(items))
	for i := range items {
		ops[i] = api.Op{Kind: api.OpDelete, Key: items[i].Key}
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	return s.applyParts(ctx, &api.Batch{Namespace: ns, Ops: ops}, make([]api.OpResult, len(ops)))
}

// The keys that Clear deletes in one write. A shard applies nothing else meanwhile, and looks at
// the value of each: 16 of the largest take it about half a second, so it begins with these, and
// takes more while they are quick.
const (
	minClearKeys  = 16
	maxClearKeys  = api.MaxScanPageItems
	quickClear    = 50 * time.Millisecond
	sluggishClear = 200 * time.Millisecond
)

// nextPace is how many keys to delete after so many took a time.
func nextPace(pace int, took time.Duration) int {
	switch {
	case took < quickClear:
		return min(2*pace, maxClearKeys)
	case took > sluggishClear:
		return max(pace/2, minClearKeys)
	}
	return pace
}

// walkArc calls visit with the items of an arc, page by page, until it returns false. They are in
// key order as long as one shard has the whole arc. With r.Limit no page has more.
func (s *Server) walkArc(ctx context.Context, arc router.Arc, r api.Range, visit func([]api.Item) (bool, error)) error {
	m := merge{server: s, limit: r.Limit}
	pending := []*source{{arc: arc, rng: r, more: true}}
	for len(pending) > 0 {
		src := pending[len(pending)-1]
		if !src.more {
			pending = pending[:len(pending)-1]
			continue
		}
		rest, err := m.page(ctx, src)
		if err != nil {
			return err
		}
		if len(src.items) > 0 {
			if again, err := visit(src.items); err != nil || !again {
				return err
			}
		}
		pending = append(pending, rest...)
	}
	return nil
}

// SlotKeys are the keys of one slot in order, at most limit. It reads through the shard's keys
// until it has them; it lasts as long as ctx.
func (s *Server) SlotKeys(ctx context.Context, ns api.Namespace, slot api.Slot, limit int) ([][]byte, error) {
	if limit <= 0 {
		return nil, nil
	}
	var keys [][]byte
	err := s.walkSlot(ctx, ns, slot, func(items []api.Item) (bool, error) {
		for i := range min(len(items), limit-len(keys)) {
			keys = append(keys, items[i].Key)
		}
		return len(keys) < limit, nil
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// SlotCount counts the keys of one slot. It reads every key of the shard; it lasts as long as ctx.
func (s *Server) SlotCount(ctx context.Context, ns api.Namespace, slot api.Slot) (uint64, error) {
	count := uint64(0)
	err := s.walkSlot(ctx, ns, slot, func(items []api.Item) (bool, error) {
		count += uint64(len(items))
		return true, nil
	})
	if err != nil {
		return 0, err
	}
	return count, nil
}

func (s *Server) walkSlot(ctx context.Context, ns api.Namespace, slot api.Slot, visit func([]api.Item) (bool, error)) error {
	if err := checkNamespace(ns); err != nil {
		return err
	}
	if slot >= api.SlotCount {
		return api.Errorf(api.CodeInvalid, "slot %d does not exist; there are %d", slot, api.SlotCount)
	}
	ctx, leave, err := s.gate.enter(ctx, api.MaxScanPageBytes)
	if err != nil {
		return err
	}
	defer leave()
	arc := router.Arc{Start: uint32(slot), End: uint32(slot) + 1}
	return s.walkArc(ctx, arc, api.Range{Namespace: ns, KeysOnly: true}, visit)
}

// RandomKey is some key of a namespace; found is false when there is none. It picks a slot, and
// on the slot's shard a window of up to 1000 keys that follow a random point between the shard's
// first and its last key; a shard without keys passes the choice to the next one. On a shard of
// up to 1000 keys all are equally likely. On a larger one keys behind gaps in the order are
// likelier than others, but none is likelier than 1 in 1000.
func (s *Server) RandomKey(ctx context.Context, ns api.Namespace) (key []byte, found bool, err error) {
	if err := checkNamespace(ns); err != nil {
		return nil, false, err
	}
	table := s.opts.Router.Table()
	if table == nil {
		return nil, false, errNoMap()
	}
	ctx, leave, err := s.gate.enter(ctx, 2*api.MaxScanPageBytes)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	ctx, cancel := s.withDeadline(ctx)
	defer cancel()
	for slot, left := s.jitter.index(api.SlotCount), api.SlotCount; left > 0; {
		arc := table.ShardOf(api.Slot(slot)).Arc
		keys, err := s.window(ctx, ns, arc)
		if err != nil {
			return nil, false, err
		}
		if len(keys) > 0 {
			return keys[s.jitter.index(len(keys))].Key, true, nil
		}
		left -= int(arc.End) - int(arc.Start)
		slot = int(arc.End) % api.SlotCount
	}
	return nil, false, nil
}

// maxWindow is how many keys RandomKey chooses from: one page, which tells besides whether there
// are more.
const maxWindow = 1000

// window is every key of an arc if there are up to maxWindow, else that many from a random point on.
func (s *Server) window(ctx context.Context, ns api.Namespace, arc router.Arc) ([]api.Item, error) {
	all := api.Range{Namespace: ns, KeysOnly: true}
	head, complete, err := s.collect(ctx, arc, all, maxWindow)
	if err != nil || complete {
		return head, err
	}
	backwards := all
	backwards.Reverse, backwards.Limit = true, 1
	last, _, err := s.collect(ctx, arc, backwards, 1)
	if err != nil || len(last) == 0 {
		return head, err
	}
	from := all
	from.Start = s.between(head[0].Key, last[0].Key)
	keys, complete, err := s.collect(ctx, arc, from, maxWindow)
	if err != nil || !complete {
		return keys, err
	}
	return append(keys, head[:maxWindow-len(keys)]...), nil // it goes round
}

// collect reads up to count items of a range of an arc. complete says that there are no more.
func (s *Server) collect(ctx context.Context, arc router.Arc, r api.Range, count int) (items []api.Item, complete bool, err error) {
	complete = true
	err = s.walkArc(ctx, arc, r, func(page []api.Item) (bool, error) {
		if len(items)+len(page) > count {
			complete, page = false, page[:count-len(items)]
		}
		items = append(items, page...)
		return complete, nil
	})
	return items, complete, err
}

// between is a random key from low to high: what both begin with, then a byte between theirs,
// then bytes from the range of those that they have behind it.
func (s *Server) between(low, high []byte) []byte {
	common := 0
	for common < len(low) && common < len(high) && low[common] == high[common] {
		common++
	}
	if common == len(low) || common == len(high) {
		return low // low is a prefix of high, and everything lies behind it
	}
	key := append(bytes.Clone(low[:common]), low[common]+byte(s.jitter.index(int(high[common]-low[common])+1)))
	tail := append(bytes.Clone(low[common:]), high[common:]...)
	least, most := tail[0], tail[0]
	for _, b := range tail {
		least, most = min(least, b), max(most, b)
	}
	for len(key) < max(len(low), len(high)) {
		key = append(key, least+byte(s.jitter.index(int(most-least)+1)))
	}
	return key
}

// Locate says who leads the shard of a slot as this node believes, empty when unknown, and
// whether this node holds a replica of it. A local replica knows better than the leader cache,
// which is only written when a request is routed.
func (s *Server) Locate(slot api.Slot) (leader api.NodeID, here bool) {
	table := s.opts.Router.Table()
	if table == nil || slot >= api.SlotCount {
		return "", false
	}
	return s.leaderOf(table.ShardOf(slot).ID)
}

func (s *Server) leaderOf(id api.ShardID) (leader api.NodeID, here bool) {
	local, here := s.opts.Local(id)
	if here {
		leader, _ = local.Leader()
	}
	if leader == "" {
		leader, _ = s.opts.Router.Leader(id)
	}
	return leader, here
}
