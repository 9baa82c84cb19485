package budget

import "github.com/lightning-db/lightning/engine/internal/ghost"

const (
	// searchCost and readCost are what a read of a row saves that is found in the cache of rows, and one of a block in the cache of blocks: a
	// search in a cached block takes 1 to 2 µs of CPU, and reading one from the system's page cache 8 to 11. A disk takes ten times
	// longer than that; then a cached row is worth about as much as the block that it saves.
	searchCost = 1
	readCost   = 8

	leastRows   = 16 // rows keep one of so many parts at least, so that it is seen what they would be worth
	leastBlocks = 8  // and blocks one of so many
	// leastBlockBytes are what blocks keep in any case: in less, a new one goes before its next row is read.
	leastBlockBytes = 1 << 20
	firstStep       = 64   // one of so many parts changes hands at first
	largestStep     = 8    // and at most, when several steps go the same way
	leastMisses     = 4096 // of rows and blocks, between two looks
	leastReturns    = 64   // and of those, which had been held not long before; or nothing is known
	// hysteresis is how much more the one must be worth than the other.
	hysteresis = 1.25
	// idle is when one read of so many is of a row: those that are held are not worth their place then.
	idle = 256
)

// Work is what the caches did since some beginning, and what they hold.
type Work struct {
	Rows, Blocks Cached
}

// Cached is the work of one cache.
type Cached struct {
	Hits, Misses uint64
	Near, Far    ghost.Counts // of what was dropped last, and of what was dropped before that, too
	Count, Bytes int          // held
}

// Add adds another cache's.
func (c *Cached) Add(other Cached) {
	c.Hits += other.Hits
	c.Misses += other.Misses
	c.Near.Add(other.Near)
	c.Far.Add(other.Far)
	c.Count += other.Count
	c.Bytes += other.Bytes
}

// since gives the counts since another look, and what is held now.
func (c Cached) since(before Cached) Cached {
	c.Hits -= min(before.Hits, c.Hits)
	c.Misses -= min(before.Misses, c.Misses)
	c.Near.Returned -= min(before.Near.Returned, c.Near.Returned)
	c.Far.Returned -= min(before.Far.Returned, c.Far.Returned)
	return c
}

// size is what one entry takes.
func (c Cached) size() float64 { return float64(max(c.Bytes, 1)) / float64(max(c.Count, 1)) }

// worth is what a byte more would have saved, if a hit saves so much: as much as a byte of what is remembered would have. Mostly that is most
// for what was dropped last. But of a loop that is larger than the cache nothing comes back until much else was dropped.
func (c Cached) worth(saved float64) float64 {
	worth := 0.0
	for _, g := range []ghost.Counts{c.Near, c.Far} {
		if g.Held > 0 {
			worth = max(worth, float64(g.Returned)*saved/(float64(g.Held)*c.size()))
		}
	}
	return worth
}

// Division parts bytes between a cache of rows and one of blocks. Each keeps in mind what it has dropped not long ago, and counts what of that
// is asked for again: so it is known what more room would save, without any change that might turn out bad. Room goes in steps to
// where a byte saves more, until both save about the same. It is for one goroutine at a time, has no clock, and does the same for the same reads.
type Division struct {
	total, rows, least int
	step               int // that was taken last: positive if rows got it
	wait               uint64
	before             Work
}

// NewDivision begins with some bytes for rows.
func NewDivision(total, rows int) *Division {
	d := &Division{}
	d.Resize(total, rows, 0)
	return d
}

// Resize changes the bytes, and begins anew with some for rows, which will have at least so many.
func (d *Division) Resize(total, rows, least int) {
	d.total, d.rows, d.step, d.wait = total, rows, 0, leastMisses
	d.least = max(least, total/leastRows)
}

// Rows is what rows have.
func (d *Division) Rows() int { return d.rows }

// Look is called from time to time with what the caches have done, and gives what rows are to have.
func (d *Division) Look(w Work) (rows int) {
	rowWork, blockWork := w.Rows.since(d.before.Rows), w.Blocks.since(d.before.Blocks)
	most := max(d.rows, d.total-max(d.total/leastBlocks, leastBlockBytes))
	if rowWork.Misses+blockWork.Misses < d.wait || d.least > most {
		return d.rows
	}
	way := direction(rowWork, blockWork)
	if way > 0 && d.fills(w.Blocks, d.before.Blocks, d.total-d.rows) || way < 0 && d.fills(w.Rows, d.before.Rows, d.rows) {
		way = 0
	}
	d.before, d.wait = w, leastMisses
	if way != 0 {
		d.move(way, most, w)
	}
	return d.rows
}

// direction is 1 if rows should have more, -1 if blocks should.
func direction(rows, blocks Cached) int {
	if reads := rows.Hits + rows.Misses; reads < (blocks.Hits+blocks.Misses)/idle && blocks.Misses >= leastReturns {
		return -1
	}
	if rows.Far.Returned+blocks.Far.Returned < leastReturns {
		return 0
	}
	missed := float64(blocks.Misses) / float64(max(blocks.Hits+blocks.Misses, 1))
	rowWorth, blockWorth := rows.worth(searchCost+missed*readCost), blocks.worth(readCost)
	switch {
	case rowWorth > hysteresis*blockWorth:
		return 1
	case blockWorth > hysteresis*rowWorth:
		return -1
	}
	return 0
}

// fills tells whether a cache is on the way to use its bytes. It is not known yet what they are worth.
func (d *Division) fills(now, before Cached, bytes int) bool {
	return now.Bytes < bytes-d.total/firstStep && now.Bytes-before.Bytes > d.total/firstStep/2
}

// move takes a step one way, up to most for rows.
func (d *Division) move(way, most int, w Work) {
	step := way * (d.total / firstStep)
	if d.step*way > 0 {
		step = way * min(2*d.step*way, d.total/largestStep)
	}
	rows := max(min(d.rows+step, most), d.least)
	step, d.rows = rows-d.rows, rows
	if d.step = step; step == 0 {
		return
	}
	// What a step is worth is seen when it is filled.
	got := w.Blocks
	if way > 0 {
		got = w.Rows
	}
	d.wait = max(leastMisses, 2*uint64(float64(max(step, -step))/got.size()))
}
