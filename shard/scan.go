package shard

import (
	"context"
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/router"
)

// Page is one page of a scan.
type Page struct {
	// Items are live keys in the order of the scan; with Range.KeysOnly without values.
	Items []api.Item
	// Arc is what the page covered: keys in other slots are not in it even if they exist.
	Arc router.Arc
	// More says that the range may hold further keys. A page may be empty and yet have more.
	More bool
	// Resume is where the next page goes on: its Range.Start or, in a reverse scan, its
	// Range.End. Set when More is.
	Resume []byte
}

const (
	// maxPageRows bounds the rows that one page looks at, live or not: a page among many
	// expired rows must not hold its snapshot for long.
	maxPageRows = 16 * api.MaxScanPageItems

	// cancelEveryRows is how often a count looks whether its caller is still there.
	cancelEveryRows = 1024
)

// Scan reads one page of a range, linearizably and in one snapshot. The caller owns its bytes.
func (r *reader) Scan(ctx context.Context, epoch api.Epoch, rng api.Range) (Page, error) {
	if err := checkBounds(&rng); err != nil {
		return Page{}, err
	}
	var page Page
	err := r.read(ctx, epoch, func(v *view) (err error) {
		page, err = v.page(rng)
		return err
	})
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

func checkBounds(r *api.Range) error {
	// The resume key after the longest key is one byte longer.
	if len(r.Start) > api.MaxKeyBytes+1 || len(r.End) > api.MaxKeyBytes+1 {
		return api.Errorf(api.CodeTooLarge, "a bound of the range is over the limit of %d bytes for keys", api.MaxKeyBytes)
	}
	return nil
}

func (v *view) page(r api.Range) (Page, error) {
	b := pageBuilder{view: v, r: r, page: Page{Arc: v.state.arc}}
	err := v.walk(r.Namespace, r.Start, r.End, r.Reverse, b.add)
	return b.page, err
}

// walk calls visit for every value row of a range until it returns false.
func (v *view) walk(ns api.Namespace, start, end []byte, reverse bool, visit func(engine.Row) (bool, error)) error {
	lower, upper := rows.Bounds(ns, start, end)
	it := v.snapshot.NewIterator(engine.IteratorOptions{Start: lower, End: upper, At: engine.MaxVersion})
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	var err error
	for ok := first(); ok && err == nil; {
		if ok, err = visit(it.Row()); ok {
			ok = next()
		}
	}
	if err == nil {
		err = it.Err()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("walk over a range: %w", err)
	}
	return nil
}

// pageBuilder gathers a page from the rows of a walk.
type pageBuilder struct {
	view *view
	r    api.Range
	page Page
	rows int
	size int
}

// add takes one row and reports whether the page wants another.
func (b *pageBuilder) add(row engine.Row) (bool, error) {
	_, key, err := rows.DecodeKey(nil, row.Key)
	if err != nil {
		return false, err
	}
	if b.rows == maxPageRows || b.full() {
		// This row begins the next page. The end of a reverse range is exclusive, hence the
		// smallest key after it.
		b.page.More, b.page.Resume = true, key
		if b.r.Reverse {
			b.page.Resume = append(key, 0)
		}
		return false, nil
	}
	b.rows++
	if !b.view.state.arc.Contains(router.Slot(b.r.Namespace, key)) || !b.view.live(row.ExpiryMillis) {
		return true, nil
	}
	item := api.Item{Key: key}
	if err := fill(&item, row); err != nil {
		return false, err
	}
	if b.r.KeysOnly {
		item.Value = nil
	} else {
		item.Value = copied(item.Value) // the iterator's
	}
	b.page.Items = append(b.page.Items, item)
	b.size += len(item.Key) + len(item.Value)
	return true, nil
}

func (b *pageBuilder) full() bool {
	n := len(b.page.Items)
	return n >= api.MaxScanPageItems || b.size >= api.MaxScanPageBytes || b.r.Limit != 0 && uint64(n) >= b.r.Limit
}

// fill takes over what an engine row holds into an item. The value is the row's memory.
func fill(item *api.Item, row engine.Row) (err error) {
	item.Found, item.Version, item.ExpiryMillis = true, api.Version(row.Version), row.ExpiryMillis
	item.Value, err = rows.DecodeValue(row.Value)
	return err
}

func copied(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// Count counts the live keys of a namespace, linearizably and in one snapshot. It reads every
// row: on a large shard it takes as long as a full scan.
func (r *reader) Count(ctx context.Context, epoch api.Epoch, ns api.Namespace) (uint64, error) {
	var count uint64
	err := r.read(ctx, epoch, func(v *view) error {
		count = 0
		seen := 0
		return v.walk(ns, nil, nil, false, func(row engine.Row) (bool, error) {
			if seen++; seen%cancelEveryRows == 0 && ctx.Err() != nil {
				return false, api.Errorf(api.CodeExpired, "count: %w", context.Cause(ctx))
			}
			_, key, err := rows.DecodeKey(nil, row.Key)
			if err != nil {
				return false, err
			}
			if v.state.arc.Contains(router.Slot(ns, key)) && v.live(row.ExpiryMillis) {
				count++
			}
			return true, nil
		})
	})
	if err != nil {
		return 0, err
	}
	return count, nil
}
