package rowcache

import (
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/stripe"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// Query is one point read on its way: of a key, at a version and a sequence. It is for one goroutine.
type Query struct {
	Key               []byte
	Hash              uint64 // keyhash.Of the key
	Version, Sequence uint64

	// Set by a hit.
	FoundVersion, FoundExpiry uint64

	// Set by a miss that Fill may follow.
	table  *table
	bucket *bucket
	stamp  uint64 // RW1
}

// tries bounds how often Get looks again because something in the bucket changed.
const tries = 3

// Get appends the value of the newest row of the key, if it is here and the query may see it. It takes no lock, and allocates
// only for a value that does not fit behind dst.
func (c *Cache) Get(q *Query, dst []byte) (value []byte, hit bool) {
	if c == nil {
		return dst, false
	}
	q.bucket = nil
	s := &c.shards[q.Hash&c.mask]
	for range tries {
		t := s.table.Load()
		b := t.bucket(q.Hash)
		stamp := b.stamp.Load()
		if stamp&(odd|locked) != 0 {
			continue
		}
		i, slot, row := t.find(b, q)
		if row == nil {
			q.table, q.bucket, q.stamp = t, b, stamp
			break
		}
		value, visible := q.read(row, dst)
		if b.stamp.Load() != stamp { // RW2
			continue
		}
		if !visible {
			break
		}
		if slot&used == 0 {
			b.slots[i].CompareAndSwap(slot, slot|used)
		}
		c.hits.Add(1)
		return value, true
	}
	if c.misses[stripe.Index()].Add(1)%notifyEvery == 0 && c.missed != nil {
		c.missed(notifyEvery)
	}
	return dst, false
}

// find gives the slot of the key and its row, or no row. What it finds may change under it: that the row is not longer than
// the segment is all that is sure.
func (t *table) find(b *bucket, q *Query) (i int, slot uint64, row []atomic.Uint64) {
	want := q.Hash & hashMask
	for i := range b.slots {
		slot = b.slots[i].Load()
		if slot&hashMask != want || slot == 0 {
			continue
		}
		row = t.row(placeOf(slot))
		header := row[0].Load()
		if keyBytes(header) != len(q.Key) || rowWords(header) > len(row) {
			continue
		}
		if row = row[:rowWords(header)]; sameKey(row[fixedWords(header):], q.Key) {
			return i, slot, row
		}
	}
	return 0, 0, nil
}

// read copies a row out, if the query may see it.
func (q *Query) read(row []atomic.Uint64, dst []byte) (value []byte, visible bool) {
	header := row[0].Load()
	version, sequence := row[1].Load(), row[2].Load()
	if sequence > q.Sequence || version > q.Version && !seededbug.Enabled(seededbug.EngineRowCacheAnyVersion) {
		return dst, false
	}
	q.FoundVersion, q.FoundExpiry = version, 0
	if header&expires != 0 {
		q.FoundExpiry = row[3].Load()
	}
	at := fixedWords(header) + words(len(q.Key))
	n := valueBytes(header)
	if at+words(n) > len(row) { // it is being overwritten
		return dst, false
	}
	return appendBytes(dst, row[at:], n), true
}
