package sharedlog

// tailCache bounds what the groups keep of their newest entries, all together. It forgets in the
// order in which entries came, whichever group they are of. Owned by the writer.
type tailCache struct {
	maxBytes int
	bytes    int
	// added entries, oldest first, as runs: all that a group had up to last.
	runs []cachedRun
	head int // of runs
}

type cachedRun struct {
	group *group
	last  uint64
}

// maxCachedRuns bounds the runs, also when entries are very small.
const maxCachedRuns = 1 << 15

// added notes that g has entries up to last in memory, and forgets the oldest that are too much.
func (c *tailCache) added(g *group, last uint64) {
	c.runs = append(c.runs, cachedRun{g, last})
	for c.head < len(c.runs) && (c.bytes > c.maxBytes || len(c.runs)-c.head > maxCachedRuns) {
		r := c.runs[c.head]
		c.runs[c.head] = cachedRun{}
		c.head++
		c.bytes -= r.group.evictThrough(r.last)
	}
	if c.head > len(c.runs)/2 {
		c.runs = c.runs[:copy(c.runs, c.runs[c.head:])]
		c.head = 0
	}
}

// evictThrough forgets the cached entries up to last and returns their bytes. Entries that
// replaced those that last was said of go early, which costs a read and nothing else.
func (g *group) evictThrough(last uint64) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.cached) == 0 {
		return 0
	}
	first := g.spanLocked().last + 1 - uint64(len(g.cached))
	if last < first {
		return 0
	}
	return g.evictLocked(int(min(last-first+1, uint64(len(g.cached)))))
}
