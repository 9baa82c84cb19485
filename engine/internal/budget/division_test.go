package budget

import (
	"testing"

	"github.com/lightning-db/lightning/engine/internal/ghost"
)

// reads adds to what a cache did: hits, misses, and of these what had been dropped not long before; it is full with some bytes.
func (c *Cached) reads(hits, misses, near, far uint64, bytes int) {
	c.Hits += hits
	c.Misses += misses
	c.Near = ghost.Counts{Held: 1000, Returned: c.Near.Returned + near}
	c.Far = ghost.Counts{Held: 8000, Returned: c.Far.Returned + far}
	c.Bytes, c.Count = bytes, bytes/200
}

const (
	total = 16 << 20
	begin = total / 2
)

// look makes looks of the same kind, with caches that use all they have.
func look(d *Division, w *Work, times int, read func(*Work)) (rows int) {
	for range times {
		read(w)
		w.Rows.Bytes, w.Blocks.Bytes = d.Rows(), d.total-d.Rows()
		w.Rows.Count, w.Blocks.Count = 1+w.Rows.Bytes/200, 1+w.Blocks.Bytes/8192
		before := d.Rows()
		if rows = d.Look(*w); max(rows-before, before-rows) > total/largestStep {
			panic("a step is too large")
		}
	}
	return rows
}

// BG4.
func TestRoomGoesWhereAByteSavesMore(t *testing.T) {
	for name, c := range map[string]struct {
		read     func(*Work)
		from, to int // where rows are after some looks
	}{
		"rows come back":                      {func(w *Work) { w.Rows.reads(9000, 5000, 500, 900, 0); w.Blocks.reads(4000, 1000, 0, 0, 0) }, total * 7 / 8, total * 7 / 8},
		"blocks come back":                    {func(w *Work) { w.Rows.reads(9000, 5000, 0, 0, 0); w.Blocks.reads(1000, 5000, 500, 900, 0) }, total / 16, total / 16},
		"blocks come back late, as in a loop": {func(w *Work) { w.Rows.reads(9000, 5000, 0, 0, 0); w.Blocks.reads(1000, 5000, 0, 4000, 0) }, total / 16, total / 16},
		"nothing comes back":                  {func(w *Work) { w.Rows.reads(9000, 5000, 0, 0, 0); w.Blocks.reads(1000, 5000, 0, 0, 0) }, begin, begin},
		"no rows are read, and blocks miss":   {func(w *Work) { w.Blocks.reads(1000, 5000, 0, 0, 0) }, total / 16, total / 16},
		"all is found":                        {func(w *Work) { w.Rows.reads(90000, 10, 0, 0, 0); w.Blocks.reads(10, 1, 0, 0, 0) }, begin, begin},
	} {
		d := NewDivision(total, begin)
		if rows := look(d, &Work{}, 40, c.read); rows < c.from || rows > c.to {
			t.Errorf("%s: rows have %d of %d", name, rows, total)
		}
	}
}

// BG4.
func TestRoomComesBackWhenTheReadsChange(t *testing.T) {
	d, w := NewDivision(total, begin), &Work{}
	look(d, w, 40, func(w *Work) { w.Blocks.reads(1000, 5000, 500, 900, 0) })
	rows := look(d, w, 40, func(w *Work) { w.Rows.reads(5000, 9000, 500, 900, 0); w.Blocks.reads(8000, 1000, 1, 9, 0) })
	if rows != total*7/8 {
		t.Errorf("rows have %d of %d", rows, total)
	}
}

// BG4. A returned row saves 1 + 8/2 here, in 200 bytes, and a block 8 in 8192.
func TestWorthThatIsAboutTheSameMovesNothing(t *testing.T) {
	const rowsReturned = 100
	const same = rowsReturned * 5 * 8192 / 200 / 8
	for _, c := range []struct {
		blocks uint64
		stays  bool
	}{{same, true}, {same * 6 / 5, true}, {same * 5 / 6, true}, {same * 3 / 2, false}, {same * 2 / 3, false}} {
		rows := look(NewDivision(total, begin), &Work{}, 20, func(w *Work) {
			w.Rows.reads(5000, 5000, 0, rowsReturned, 0)
			w.Blocks.reads(5000, 5000, 0, c.blocks, 0)
		})
		if rows == begin != c.stays {
			t.Errorf("%d blocks come back: rows have %d", c.blocks, rows)
		}
	}
}

func TestACacheThatFillsIsNotTakenFrom(t *testing.T) {
	d, w := NewDivision(total, begin), Work{}
	for i := range 8 {
		w.Rows.reads(5000, 5000, 0, 0, (i+1)*total/24)
		w.Blocks.reads(5000, 5000, 500, 900, begin)
		if rows := d.Look(w); rows != begin {
			t.Fatalf("look %d: rows have %d, and still fill %d", i, rows, begin)
		}
	}
	for range 20 { // they need no more
		w.Rows.reads(5000, 5000, 0, 0, w.Rows.Bytes)
		w.Blocks.reads(5000, 5000, 500, 900, begin)
		d.Look(w)
	}
	if d.Rows() != total/16 {
		t.Errorf("rows have %d", d.Rows())
	}
}

func TestRowsKeepTheLeastThatTheyNeed(t *testing.T) {
	blocks := func(w *Work) { w.Blocks.reads(1000, 5000, 500, 900, 0) }
	d := NewDivision(total, begin)
	d.Resize(total, begin, total/3)
	if rows := look(d, &Work{}, 40, blocks); rows != total/3 {
		t.Errorf("rows have %d, want %d", rows, total/3)
	}
	d.Resize(0, 0, total/3)
	if rows := look(d, &Work{}, 40, blocks); rows != 0 {
		t.Errorf("rows have %d of nothing", rows)
	}
}
