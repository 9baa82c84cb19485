package vfs

import "slices"

// sectorBytes is the unit in which a disk writes: a crash leaves one old, new or torn (D5).
const sectorBytes = 512

// sectors are the parts of a file written in place that a crash may take back. The key is the
// number of the sector, the value what is on the disk there, as far as the file is durable.
type sectors struct {
	dirty map[int][]byte // written and not yet synced
	lost  map[int][]byte // a sync of them failed, and they were not written again (D3)
}

// updateInPlace makes the bytes the file's own.
func (c *contents) updateInPlace() {
	if c.sectors != nil {
		return
	}
	c.data = slices.Clone(c.data)
	c.sectors = &sectors{dirty: map[int][]byte{}, lost: map[int][]byte{}}
}

func (c *contents) overwriteAt(p []byte, off int) {
	for n := off / sectorBytes; n*sectorBytes < min(off+len(p), c.synced); n++ {
		if c.sectors.dirty[n] != nil {
			continue
		}
		old := c.sectors.lost[n]
		if old == nil {
			old = slices.Clone(c.sector(n))
		}
		delete(c.sectors.lost, n)
		c.sectors.dirty[n] = old
	}
	if grow := off + len(p) - len(c.data); grow > 0 {
		c.data = append(c.data, make([]byte, grow)...)
	}
	copy(c.data[off:], p)
}

// sector is the durable part of a sector, which is never empty.
func (c *contents) sector(n int) []byte {
	return c.data[n*sectorBytes : min((n+1)*sectorBytes, c.synced)]
}

// loseSectors marks what a sync should have written. The new length counts as durable, with
// zeros behind the old one: a file system may well keep the one and lose the other.
func (c *contents) loseSectors() {
	for n, old := range c.sectors.dirty {
		c.sectors.lost[n] = old
	}
	clear(c.sectors.dirty)
	start := c.synced
	c.synced = len(c.data)
	for n := start / sectorBytes; n*sectorBytes < c.synced; n++ {
		durable := max(start-n*sectorBytes, 0)
		old := c.sectors.lost[n]
		if old == nil {
			old = slices.Clone(c.sector(n)[:durable])
		}
		c.sectors.lost[n] = append(old, make([]byte, len(c.sector(n))-len(old))...)
	}
}

// sectorsAfterCrash puts back into data, which is a copy, what the crash takes from sectors.
func (c *cloner) sectorsAfterCrash(from *contents, data []byte) {
	odds := c.odds()
	for _, set := range []map[int][]byte{from.sectors.dirty, from.sectors.lost} {
		numbers := make([]int, 0, len(set))
		for n := range set {
			numbers = append(numbers, n)
		}
		slices.Sort(numbers) // sorted: the order draws from Rand
		for _, n := range numbers {
			now := data[n*sectorBytes:][:len(set[n])]
			switch {
			case c.options.KeepUnsynced == KeepAll:
			case c.options.KeepUnsynced == KeepRandom && c.options.Rand.IntN(8) == 0:
				tear(now, set[n], c.options.Rand.IntN(len(now)+1), c.options.Rand.IntN(2) == 0)
			case !c.chance(odds):
				copy(now, set[n])
			}
		}
	}
}

// tear leaves the old bytes on one side of at.
func tear(now, old []byte, at int, oldFirst bool) {
	if oldFirst {
		copy(now[:at], old)
		return
	}
	copy(now[at:], old[at:])
}
