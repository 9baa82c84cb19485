package engine

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/engine/internal/budget"
	"github.com/lightning-db/lightning/engine/internal/rowcache"
	"github.com/lightning-db/lightning/engine/internal/table"
)

// looksEvery is after how many misses, for each store, it is looked whether rows and blocks have their right shares: what is looked at is
// as much as there are stores.
const looksEvery = 1024

// sharing is how the stores of a Runtime share the bytes of its caches: blocks are in one cache, rows in one for each store. It has no
// goroutine: readers who miss look after it now and then.
type sharing struct {
	// Set by begin, never written again.
	blocks   *table.Blocks
	adaptive bool
	part     float64 // of the bytes, that rows have at first
	expected int     // stores

	misses, next atomic.Int64 // counted, and at how many of them comes the next look

	// mu is held while caches are resized. Who misses only tries.
	mu struct {
		sync.Mutex
		bytes    int
		division budget.Division
		rows     []*rowcache.Cache // of the open stores that have one
		count    int               // of open stores
	}
}

func (s *sharing) begin(blocks *table.Blocks, o RuntimeOptions) {
	s.blocks, s.adaptive, s.expected = blocks, o.adaptive, o.StoreCount
	if o.CacheBytes > 0 {
		s.part = float64(o.RowCacheBytes) / float64(o.CacheBytes)
	}
	s.mu.bytes = o.CacheBytes
	s.mu.division.Resize(o.CacheBytes, o.RowCacheBytes, 0)
	s.next.Store(looksEvery)
	if s.adaptive {
		blocks.Notify(s.missed)
	}
}

// join makes the cache of rows of one more store, if it wants one and there is room.
func (s *sharing) join(wanted bool) *rowcache.Cache {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.count++
	share := int(float64(s.mu.bytes)*s.part) / (len(s.mu.rows) + 1)
	if !wanted || share < rowcache.MinBytes {
		return nil
	}
	if now := s.mu.division.Rows() / (len(s.mu.rows) + 1); now >= rowcache.MinBytes {
		share = now
	} else { // blocks have room that was lent to them
		s.divideLocked(s.mu.bytes)
	}
	for _, c := range s.mu.rows {
		c.Resize(share)
	}
	// Its segments are cut for what it will have when all are there.
	c := rowcache.New(max(rowcache.MinBytes, min(share, s.mu.division.Rows()/max(1, s.expected))))
	if s.adaptive {
		c.Notify(s.missed)
	}
	c.Resize(share)
	s.mu.rows = append(s.mu.rows, c)
	s.mu.division.Resize(s.mu.bytes, s.mu.division.Rows(), len(s.mu.rows)*rowcache.MinBytes)
	return c
}

func (s *sharing) leave(c *rowcache.Cache) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.count--
	if i := slices.Index(s.mu.rows, c); c != nil && i >= 0 {
		s.mu.rows = slices.Delete(s.mu.rows, i, i+1)
		s.mu.division.Resize(s.mu.bytes, s.mu.division.Rows(), len(s.mu.rows)*rowcache.MinBytes)
		s.shareRowsLocked((*rowcache.Cache).Resize)
	}
}

func (s *sharing) resize(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.bytes = bytes
	s.divideLocked(bytes)
	s.shareRowsLocked((*rowcache.Cache).Resize)
}

// divideLocked gives rows their first part of some bytes, and blocks the rest.
func (s *sharing) divideLocked(bytes int) {
	rows := int(float64(bytes) * s.part)
	s.mu.division.Resize(bytes, rows, len(s.mu.rows)*rowcache.MinBytes)
	s.blocks.Resize(bytes - rows)
}

// missed is called by readers who missed, with or without locks of the store's, so it waits for nothing.
func (s *sharing) missed(count int) {
	misses := s.misses.Add(int64(count))
	if misses < s.next.Load() || !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	s.next.Store(misses + looksEvery*int64(max(1, len(s.mu.rows))))
	if len(s.mu.rows) == 0 {
		return
	}
	before, rows := s.mu.division.Rows(), s.mu.division.Look(s.workLocked())
	if rows <= before {
		s.shareRowsLocked((*rowcache.Cache).TryResize) // before blocks get what rows give
	}
	if rows != before {
		s.blocks.Resize(s.mu.bytes - rows)
	}
	if rows > before {
		s.shareRowsLocked((*rowcache.Cache).TryResize)
	}
}

// workLocked is what the caches did.
func (s *sharing) workLocked() (w budget.Work) {
	for _, c := range s.mu.rows {
		r := c.Stats()
		w.Rows.Add(budget.Cached{Hits: r.Hits, Misses: r.Misses, Near: r.Near, Far: r.Far, Count: r.Rows, Bytes: r.Bytes})
	}
	b := s.blocks.Stats()
	w.Blocks = budget.Cached{Hits: b.Hits, Misses: b.Misses, Near: b.Near, Far: b.Far, Count: b.Count, Bytes: b.Bytes}
	return w
}

// shareRowsLocked gives each store an equal share of what rows have, and less to those that do not use so much: the others share the rest.
func (s *sharing) shareRowsLocked(resize func(*rowcache.Cache, int)) {
	type claim struct {
		cache     *rowcache.Cache
		has, want int
	}
	claims := make([]claim, 0, len(s.mu.rows))
	for _, c := range s.mu.rows {
		st := c.Stats()
		want := math.MaxInt
		if st.Bytes < st.Budget/4*3 {
			want = 2*st.Bytes + rowcache.MinBytes
		}
		claims = append(claims, claim{c, st.Budget, want})
	}
	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(a.want, b.want) })
	left := s.mu.division.Rows()
	for i := range claims {
		c := &claims[i]
		c.want = min(c.want, left/(len(claims)-i))
		left -= c.want
	}
	for i := range claims { // nobody wants what is left now
		claims[i].want += left / len(claims)
	}
	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(a.want-a.has, b.want-b.has) })
	for _, c := range claims { // those that give come first
		if c.want < c.has || c.want > c.has+c.has/16 {
			resize(c.cache, c.want)
		}
	}
}

// caches are the caches of rows.
func (s *sharing) caches() []*rowcache.Cache {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mu.rows)
}

// metrics fills in what is known here, and gives the sum of the caches of rows.
func (s *sharing) metrics(m *RuntimeMetrics) (sum rowcache.Stats) {
	s.mu.Lock()
	m.StoreCount, m.CacheBytes, m.RowCacheBytes = s.mu.count, s.mu.bytes, s.mu.division.Rows()
	s.mu.Unlock()
	for _, c := range s.caches() {
		rows := c.Stats()
		sum.Hits += rows.Hits
		sum.Misses += rows.Misses
		sum.Rows += rows.Rows
		sum.Bytes += rows.Bytes
	}
	return sum
}
