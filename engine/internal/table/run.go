package table

import (
	"bytes"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// run is the rows behind the current one of a cursor, in its block, that a walk forward may go over without asking what each of them
// is: all of them are visible, none expires, and none of another cursor comes between them (B4).
type run struct {
	end      int    // of the rows
	prefix   int    // length of what all keys begin with
	keyEnd   uint64 // of the current row
	valueEnd uint64
	shares   bool // keys share bytes with the first of their group
	repeats  bool // there may be several rows of a key
	kinds    bool // there may be tombstones
	versions bool // versions differ
}

// BeginRun makes the rest of the block a run, if a walk at a time sees all of its rows, none expires and the values are in it or not asked for. It reports whether that has
// any rows. The cursor must stand at a row, on its way forward, that the walk has taken. Range tombstones are the walk's to know of.
func (c *Cursor) BeginRun(at *record.Key, keysOnly bool) bool {
	p, b := &c.reader.properties, c.block
	if b.far.any && !keysOnly || c.direction != record.Forward || p.MaxVersion > at.Version || p.MaxSequence > at.Sequence ||
		!b.expiry.constant() || b.expiry.base != 0 || c.index+1 >= b.count {
		return false
	}
	c.run = run{
		end: b.count, prefix: len(b.prefix), keyEnd: b.starts.get(b.data, c.index+1), valueEnd: b.values.get(b.data, c.index+1),
		shares: !b.shared.constant(), repeats: p.Keys != p.Rows,
		kinds: !b.kind.constant(), versions: !b.version.constant(),
	}
	return true
}

// LimitRun ends the run before the first row of a user key, or behind it. It reports whether any rows are left.
func (c *Cursor) LimitRun(user []byte) bool {
	b := c.block
	if c.block.keys.compareTo(b.data, c.run.end-1, user) >= 0 {
		c.run.end, _ = b.keys.find(b.data, user, false)
	}
	return c.run.end > c.index+1
}

// compareTo compares a whole key.
func (k *keys) compareTo(data []byte, i int, user []byte) int {
	rest, place, ok := k.cut(user)
	switch {
	case ok:
		return k.compare(data, i, rest)
	case place == 0:
		return 1
	}
	return -1
}

// StepRun goes to the next row of the run that is the first of its key and no tombstone, and gives its key, which is good until
// the next move, its value and its version. At the end, false, the cursor stands at the last row of the run; Row is right only then, and
// FinishRun makes it so at any time.
func (c *Cursor) StepRun(user, value *[]byte, version *uint64) bool {
	b, r := c.block, &c.run
	for i := c.index + 1; i < r.end; i++ {
		start, end := r.keyEnd, b.starts.get(b.data, i+1)
		from, to := r.valueEnd, b.values.get(b.data, i+1)
		r.keyEnd, r.valueEnd, c.index = end, to, i
		shared := r.prefix
		if r.shares {
			shared += int(b.shared.get(b.data, i))
		}
		own := b.data[start:end]
		if r.repeats && len(c.key) == shared+len(own) && bytes.Equal(c.key[shared:], own) {
			continue // an older row of the key
		}
		c.key = append(c.key[:shared], own...)
		if r.kinds && record.Kind(b.kind.get(b.data, i)) != record.Put {
			continue
		}
		if r.versions {
			*version = b.version.get(b.data, i)
		}
		*user, *value = c.key, b.data[from:to:to]
		return true
	}
	c.FinishRun()
	return false
}

// FinishRun makes Row the row at which the cursor stands.
func (c *Cursor) FinishRun() {
	c.fill(c.index)
	c.run = run{}
}
