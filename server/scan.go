package server

import (
	"bytes"
	"container/heap"
	"context"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

// Scan implements api.KV. It merges the shards' pages in key order. Each page is linearizable
// at its own time; the scan as a whole is not one snapshot. Each page has the time of one
// request; the scan as a whole lasts as long as ctx. The Value of an item is nil if it has more than
// api.MaxWholeBytes: then Stored has its length, and OpenValue reads it.
func (s *Server) Scan(ctx context.Context, r api.Range) iter.Seq2[api.Item, error] {
	return s.ScanShort(ctx, r, api.MaxWholeBytes)
}

// ScanShort is Scan that brings no value in parts of more than longest bytes, which is at most api.MaxWholeBytes.
func (s *Server) ScanShort(ctx context.Context, r api.Range, longest uint64) iter.Seq2[api.Item, error] {
	return func(yield func(api.Item, error) bool) {
		if err := s.scan(ctx, r, min(longest, api.MaxWholeBytes), yield); err != nil {
			yield(api.Item{}, err)
		}
	}
}

// scan yields items until the range ends, the limit is reached or yield says stop.
func (s *Server) scan(ctx context.Context, r api.Range, longest uint64, yield func(api.Item, error) bool) error {
	if err := checkRange(&r); err != nil {
		return err
	}
	table := s.opts.Router.Table()
	if table == nil {
		return errNoMap()
	}
	ctx, leave, err := s.gate.enter(ctx, int64(len(table.Shards()))*api.MaxScanPageBytes)
	if err != nil {
		return err
	}
	defer leave()
	m := merge{server: s, limit: r.Limit, heap: sourceHeap{reverse: r.Reverse}}
	if err := m.start(ctx, r, table.Shards()); err != nil {
		return err
	}
	for yielded := uint64(0); r.Limit == 0 || yielded < r.Limit; yielded++ {
		item, ok, err := m.next(ctx)
		if err != nil || !ok {
			return err
		}
		if item.Stored != nil {
			if err := s.bringScanned(ctx, r.Namespace, &item, longest); err != nil {
				return err
			}
			if !item.Found {
				continue
			}
		}
		if !yield(item, nil) {
			return nil
		}
	}
	return nil
}

// source is the part of a scan that covers one arc.
type source struct {
	arc   router.Arc
	rng   api.Range // what is not read yet
	items []api.Item
	more  bool
}

// merge is a scan under way: the sources tile the slots, and the heap holds those that have an
// item, the next one on top (V5).
type merge struct {
	server *Server
	limit  uint64
	heap   sourceHeap
	read   uint64 // items taken so far
}

// start reads the first page of every shard, in parallel.
func (m *merge) start(ctx context.Context, r api.Range, shards []router.Shard) error {
	found := make([][]*source, len(shards))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxParallelPages)
	for i, sh := range shards {
		g.Go(func() (err error) {
			found[i], err = m.fill(ctx, &source{arc: sh.Arc, rng: r, more: true})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, sources := range found {
		m.heap.sources = append(m.heap.sources, sources...)
	}
	heap.Init(&m.heap)
	return nil
}

// maxParallelPages bounds the pages that one scan asks for at a time.
const maxParallelPages = 16

// next takes the next item in order.
func (m *merge) next(ctx context.Context) (api.Item, bool, error) {
	if m.heap.Len() == 0 {
		return api.Item{}, false, nil
	}
	top := m.heap.sources[0]
	item := top.items[0]
	top.items = top.items[1:]
	m.read++
	if len(top.items) > 0 {
		heap.Fix(&m.heap, 0)
		return item, true, nil
	}
	heap.Pop(&m.heap)
	if m.limit != 0 && m.read >= m.limit {
		return item, true, nil // nobody asks for another page
	}
	sources, err := m.fill(ctx, top)
	if err != nil {
		return api.Item{}, false, err
	}
	for _, src := range sources {
		heap.Push(&m.heap, src)
	}
	return item, true, nil
}

// fill reads pages until the source has an item or its range has ended. If the shard turns out
// to cover only a part of the source's arc, because it was split, the rest becomes sources of
// its own from the same key on. It returns the sources that have items.
func (m *merge) fill(ctx context.Context, src *source) ([]*source, error) {
	var filled []*source
	pending := []*source{src}
	for len(pending) > 0 {
		src := pending[len(pending)-1]
		if len(src.items) > 0 || !src.more {
			pending = pending[:len(pending)-1]
			if len(src.items) > 0 {
				filled = append(filled, src)
			}
			continue
		}
		rest, err := m.page(ctx, src)
		if err != nil {
			return nil, err
		}
		pending = append(pending, rest...)
	}
	return filled, nil
}

// page reads the next page of a source and returns what of the arc it did not cover.
func (m *merge) page(ctx context.Context, src *source) ([]*source, error) {
	rng := src.rng
	rng.Limit = api.MaxScanPageItems
	if m.limit != 0 {
		rng.Limit = min(rng.Limit, m.limit-m.read)
	}
	page, err := m.server.readPage(ctx, api.Slot(src.arc.Start), rng)
	if err != nil {
		return nil, err
	}
	rest := uncovered(src, page.Arc)
	src.items, src.more = inArc(page.Items, src.rng.Namespace, src.arc, page.Arc), page.More
	src.arc = router.Arc{Start: max(src.arc.Start, page.Arc.Start), End: min(src.arc.End, page.Arc.End)}
	if page.More {
		if src.rng.Reverse {
			src.rng.End = page.Resume
		} else {
			src.rng.Start = page.Resume
		}
	}
	return rest, nil
}

// uncovered are the parts of the source's arc outside of covered. The first slot of the source
// is always covered: it is the one by which the shard was found.
func uncovered(src *source, covered router.Arc) []*source {
	if covered.End >= src.arc.End {
		return nil
	}
	return []*source{{arc: router.Arc{Start: covered.End, End: src.arc.End}, rng: src.rng, more: true}}
}

// inArc keeps the items of a page that belong to a source: a shard that covers more than the
// source's arc would otherwise yield keys twice.
func inArc(items []api.Item, ns api.Namespace, arc, covered router.Arc) []api.Item {
	if covered.Start >= arc.Start && covered.End <= arc.End {
		return items
	}
	kept := items[:0]
	for _, item := range items {
		if arc.Contains(router.Slot(ns, item.Key)) {
			kept = append(kept, item)
		}
	}
	return kept
}

// readPage reads one page from the shard that owns slot: from its leader, or by proof.
func (s *Server) readPage(ctx context.Context, slot api.Slot, r api.Range) (shard.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	var page shard.Page
	err := s.routeRead(ctx, slot, freshness{bound: r.MaxStaleness}, func(ctx context.Context, at place) (err error) {
		page, err = s.scanPage(ctx, at, r)
		if err == nil && !page.Arc.Contains(slot) {
			err = api.Errorf(api.CodeStaleMap, "the shard covers %v and not slot %d", page.Arc, slot)
		}
		if err == nil && page.More && !movesOn(&r, page.Resume) {
			err = api.Errorf(api.CodeInternal, "a page of a scan does not move on")
		}
		return err
	})
	return page, err
}

// movesOn reports whether going on from resume leaves less of the range than before, without
// which a scan would never end.
func movesOn(r *api.Range, resume []byte) bool {
	if r.Reverse {
		return len(resume) > 0 && (len(r.End) == 0 || bytes.Compare(resume, r.End) < 0)
	}
	return bytes.Compare(resume, r.Start) > 0
}

// sourceHeap orders sources by their first item.
type sourceHeap struct {
	sources []*source
	reverse bool
}

// Len implements heap.Interface.
func (h *sourceHeap) Len() int { return len(h.sources) }

// Less implements heap.Interface.
func (h *sourceHeap) Less(i, j int) bool {
	c := bytes.Compare(h.sources[i].items[0].Key, h.sources[j].items[0].Key)
	if h.reverse {
		return c > 0
	}
	return c < 0
}

// Swap implements heap.Interface.
func (h *sourceHeap) Swap(i, j int) { h.sources[i], h.sources[j] = h.sources[j], h.sources[i] }

// Push implements heap.Interface.
func (h *sourceHeap) Push(x any) { h.sources = append(h.sources, x.(*source)) }

// Pop implements heap.Interface.
func (h *sourceHeap) Pop() any {
	last := h.sources[len(h.sources)-1]
	h.sources = h.sources[:len(h.sources)-1]
	return last
}
