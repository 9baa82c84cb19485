package salvage

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/family"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// catalog is what is left of the rows that list families.
type catalog struct {
	listed map[uint64]bool // ids that have a row, also one that says that the family is gone
	names  map[string]bool
}

// nameFamilies gives an entry to each family of which there are rows and no entry: nobody could read or drop them. The catalog and
// those rows lie in blocks, or files, of their own, so that one can be lost without the other.
func (r *repair) nameFamilies(ctx context.Context) error {
	if !r.base.Families || seededbug.Enabled(seededbug.EngineRepairForgetsFamilies) {
		return nil
	}
	c, err := r.readCatalog(ctx)
	if err != nil {
		return err
	}
	var rows []byte
	var refs []memtable.Ref
	err = r.eachFamily(ctx, func(id uint64) {
		if c.listed[id] {
			return
		}
		name := c.freeName(id)
		r.report.Families = append(r.report.Families, name)
		// The version is the lowest one: an entry that a log still has counts more, and it has been there for all snapshots.
		refs = append(refs, memtable.Ref{Offset: len(rows), Version: 1})
		rows = memtable.AppendRow(rows, record.Put, family.Key(id), family.Entry{ID: id, Name: name}.Encode(), 0)
	})
	if err != nil || len(refs) == 0 {
		return err
	}
	m := memtable.New(len(refs))
	m.Add(rows, refs, 1) // each family had a row and an entry, so there have been so many sequences
	r.named = &source{name: "families", memory: m}
	r.memories = append(r.memories, r.named)
	return nil
}

// from walks over all that is left, from the first row with a prefix on.
func (r *repair) from(prefix []byte) *merged {
	k := record.FirstOf(prefix)
	return seek(slices.Concat(r.memories, r.sources), &k)
}

// readCatalog reads the newest row of each entry.
func (r *repair) readCatalog(ctx context.Context) (*catalog, error) {
	c := &catalog{listed: map[uint64]bool{}, names: map[string]bool{}}
	prefix := family.Prefix(family.Catalog)
	m := r.from(prefix)
	var user, value []byte
	for n := 1; m.row() != nil && bytes.HasPrefix(m.row().User, prefix); m.step() {
		if n++; n%contextStride == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		row := m.row()
		if bytes.Equal(user, row.User) {
			continue
		}
		user = append(user[:0], row.User...)
		if id, ok := family.IDOf(user[len(prefix):]); ok && id != family.Catalog {
			c.listed[id] = true
		}
		if err := row.Load(&value); err != nil {
			return nil, err
		}
		if e, ok := family.Decode(row.Value); ok && row.Kind == record.Put && !bytes.Equal(user, family.NextKey()) {
			c.names[e.Name] = true
		}
	}
	return c, m.err
}

// eachFamily gives the ids of all families that have rows.
func (r *repair) eachFamily(ctx context.Context, visit func(id uint64)) error {
	for next := family.Prefix(family.Catalog + 1); ; {
		m := r.from(next)
		row := m.row()
		if m.err != nil || row == nil || ctx.Err() != nil {
			return cmp.Or(m.err, ctx.Err())
		}
		id, ok := family.IDOf(row.User)
		if !ok {
			return nil // no key begins so: what follows is of no family either
		}
		visit(id)
		next = family.End(family.Prefix(id))
	}
}

// freeName makes a name that no family has.
func (c *catalog) freeName(id uint64) string {
	name := fmt.Sprintf("lost-%d", id)
	for n := 2; c.names[name]; n++ {
		name = fmt.Sprintf("lost-%d~%d", id, n)
	}
	c.names[name] = true
	return name
}
