package rowcache

import "github.com/lightning-db/lightning/internal/seededbug"

// Begin is called before a batch becomes visible, with the hashes of its keys, and End after it, with the same. Between the two nothing
// of their buckets is found, and nothing gets in (RW1).
func (c *Cache) Begin(hashes []uint64) {
	if c == nil {
		return
	}
	c.publishing.Lock()
	c.touch(hashes)
	for _, h := range hashes {
		s, b := c.at(h)
		if b.stamp.Load()&odd == 0 && !seededbug.Enabled(seededbug.EngineStampNotOdd) { // two keys may have one bucket
			b.stamp.Add(odd)
		}
		if n := b.forget(h); n > 0 {
			s.live.Add(-n)
		}
	}
}

// End is the other half of Begin.
func (c *Cache) End(hashes []uint64) {
	if c == nil {
		return
	}
	for _, h := range hashes {
		if _, b := c.at(h); b.stamp.Load()&odd != 0 {
			b.stamp.Add(odd)
		}
	}
	c.publishing.Unlock()
}

// at gives the bucket of a hash to who publishes.
func (c *Cache) at(hash uint64) (*shard, *bucket) {
	s := &c.shards[hash&c.mask]
	return s, s.table.Load().bucket(hash)
}

// touch looks at all stamps. The looks do not depend on each other, so the processor waits for the memory of several
// at once, which it would not for the locked instructions that follow.
func (c *Cache) touch(hashes []uint64) {
	for _, h := range hashes {
		_, b := c.at(h)
		b.stamp.Load()
	}
}
