package client

import (
	"bytes"
	"context"
	"iter"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/rows"
)

// Get implements api.KV.
func (e *embedded) Get(ctx context.Context, ns api.Namespace, key []byte) (api.Item, error) {
	if err := e.enter(ctx, ns); err != nil {
		return api.Item{}, err
	}
	defer e.calls.leave()
	if err := validateKey(key); err != nil {
		return api.Item{}, err
	}
	// The time comes first: a row that has expired by then was absent then, and one that comes
	// later is judged by a time at which it may still be there.
	at := e.now()
	row, ok, err := e.db.Get(rows.Key(ns, key), engine.MaxVersion)
	if err != nil {
		return api.Item{}, engineError(err)
	}
	return embeddedItem(key, row, ok && !expired(row, at), true)
}

// MultiGet implements api.KV. Here all keys are read in one snapshot.
func (e *embedded) MultiGet(ctx context.Context, ns api.Namespace, keys [][]byte) ([]api.Item, error) {
	if err := e.enter(ctx, ns); err != nil {
		return nil, err
	}
	defer e.calls.leave()
	if err := validateKeys(keys); err != nil {
		return nil, err
	}
	snapshot, at := e.view()
	defer snapshot.Close()
	items := make([]api.Item, len(keys))
	for i, key := range keys {
		row, ok, err := snapshot.Get(rows.Key(ns, key), engine.MaxVersion)
		if err != nil {
			return nil, engineError(err)
		}
		if items[i], err = embeddedItem(key, row, ok && !expired(row, at), true); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// view is a snapshot and the time by which its rows are judged: at or above every write in it.
func (e *embedded) view() (*engine.Snapshot, api.Version) {
	at := e.now()
	snapshot := e.db.Snapshot()
	return snapshot, max(at, api.Version(snapshot.LastVersion()))
}

// embeddedItem copies a row for the caller.
func embeddedItem(key []byte, row engine.Row, found, withValue bool) (api.Item, error) {
	item := api.Item{Key: bytes.Clone(key)}
	if !found {
		return item, nil
	}
	value, err := rows.DecodeValue(row.Value)
	if err != nil {
		return api.Item{}, engineError(err)
	}
	item.Found, item.Version, item.ExpiryMillis = true, api.Version(row.Version), row.ExpiryMillis
	if withValue {
		item.Value = append(make([]byte, 0, len(value)), value...)
	}
	return item, nil
}

// Scan implements api.KV. As in a cluster each page is read at its own time, so that a slow
// consumer keeps nothing from being dropped.
func (e *embedded) Scan(ctx context.Context, r api.Range) iter.Seq2[api.Item, error] {
	return func(yield func(api.Item, error) bool) {
		for more := true; more; {
			var page []api.Item
			var err error
			if page, more, err = e.page(ctx, &r); err != nil {
				yield(api.Item{}, err)
				return
			}
			for _, item := range page {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// maxPageRows bounds the rows that one page looks at, expired ones too.
const maxPageRows = 16 * api.MaxScanPageItems

// page reads the next page of a range and takes what it read out of the range.
func (e *embedded) page(ctx context.Context, r *api.Range) (page []api.Item, more bool, err error) {
	if err := e.enter(ctx, r.Namespace); err != nil {
		return nil, false, err
	}
	defer e.calls.leave()
	if len(r.Start) > api.MaxKeyBytes+1 || len(r.End) > api.MaxKeyBytes+1 {
		return nil, false, api.Errorf(api.CodeTooLarge, "a bound of the range is over the limit of %d bytes for keys", api.MaxKeyBytes)
	}
	snapshot, at := e.view()
	defer snapshot.Close()
	lower, upper := rows.Bounds(r.Namespace, r.Start, r.End)
	it := snapshot.NewIterator(engine.IteratorOptions{Start: lower, End: upper})
	defer func() {
		if closeErr := it.Close(); closeErr != nil && err == nil {
			page, more, err = nil, false, engineError(closeErr)
		}
	}()
	move, next := it.First, it.Next
	if r.Reverse {
		move, next = it.Last, it.Prev
	}
	size := 0
	for count := 0; move(); count++ {
		_, key, err := rows.DecodeKey(nil, it.Row().Key)
		if err != nil {
			return nil, false, engineError(err)
		}
		if count == maxPageRows || len(page) == api.MaxScanPageItems || size >= api.MaxScanPageBytes {
			advanceTo(r, key)
			return page, true, nil
		}
		if move = next; expired(it.Row(), at) {
			continue
		}
		item, err := embeddedItem(key, it.Row(), true, !r.KeysOnly)
		if err != nil {
			return nil, false, err
		}
		page = append(page, item)
		size += len(item.Key) + len(item.Value)
		if r.Limit > 0 {
			if r.Limit--; r.Limit == 0 {
				return page, false, nil
			}
		}
	}
	return page, false, nil
}

// advanceTo makes a range begin at key, in the direction of the scan.
func advanceTo(r *api.Range, key []byte) {
	if r.Reverse {
		r.End = append(key, 0) // the end is exclusive
	} else {
		r.Start = key
	}
}
