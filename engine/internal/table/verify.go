package table

import (
	"bytes"
	"context"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/record"
)

// verifyStride is how many rows are read between two looks at the context.
const verifyStride = 4096

// Verify reads the whole file from the disk, past the cache, with every check of a read, and
// checks the order of rows, the filter and the properties against them.
func (r *Reader) Verify(ctx context.Context) error {
	fresh := &Reader{source: r.source}
	if err := fresh.load(); err != nil {
		return err
	}
	var found Properties
	var before *record.Key
	var last record.Key
	var value []byte
	c := fresh.NewCursor(false)
	for row := c.Seek(nil, record.Forward); row != nil; row = c.Step() {
		if before != nil && record.Compare(*before, row.Key) >= 0 {
			return fresh.malformed(fresh.index.handle(c.at), "order of rows")
		}
		if fresh.index.find(&row.Key) != c.at {
			return fresh.malformed(fresh.index.handle(c.at), "index")
		}
		if !fresh.MayContain(keyhash.Of(row.User)) {
			return fresh.malformed(fresh.index.handle(c.at), "filter")
		}
		if before == nil {
			found.Smallest = append([]byte(nil), row.User...)
		}
		found.note(row, before)
		if err := row.Load(&value); err != nil {
			return err
		}
		last = record.Key{User: append(last.User[:0], row.User...), Version: row.Version, Sequence: row.Sequence}
		before = &last
		if found.Rows%verifyStride == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if c.Err() != nil {
		return c.Err()
	}
	found.Largest = last.User
	found.noteRanges(fresh.ranges.All())
	if !bytes.Equal(found.append(nil), fresh.properties.append(nil)) {
		return corrupt.Shape(r.source.name, 0, "properties", "those of the rows", "others")
	}
	return nil
}
