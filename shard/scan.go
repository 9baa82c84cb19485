package shard

import (
	"context"
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard/parts"
)

// Page is one page of a scan.
type Page struct {
	// Items are live keys in the order of the scan; with Range.KeysOnly without values. A value in parts
	// is not brought, but named by Item.Stored.
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
	r.requests.Add(1)
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
	err := each(v.snapshot, lower, upper, reverse, visit)
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
	if err := b.view.fill(&item, row); err != nil {
		return false, err
	}
	if b.r.KeysOnly {
		item.Value, item.Stored = nil, nil
	} else if item.Stored == nil {
		item.Value = copied(item.Value) // the iterator has the memory of the row
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
func (v *view) fill(item *api.Item, row engine.Row) error {
	value, in, err := rows.Decode(row.Value)
	if err != nil {
		return err
	}
	item.Found, item.Version, item.ExpiryMillis = true, api.Version(row.Version), row.ExpiryMillis
	item.Value = value
	if in != nil {
		item.Stored = &api.Stored{Parts: *in, Shard: v.state.shard, At: v.at}
	}
	return nil
}

// load brings a value that is in parts.
func (v *view) load(p *api.Parts) ([]byte, error) {
	return parts.Load(p, func(key []byte) ([]byte, bool, error) {
		found, ok, err := v.snapshot.Get(key, v.rows)
		return found.Value, ok, err
	})
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
