package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Keep says what a crash leaves of that which was not synced.
type Keep uint8

// What a crash may leave.
const (
	// KeepNone leaves what was synced and nothing else: the strictest disk.
	KeepNone Keep = iota
	// KeepRandom leaves each unsynced block and name by chance, and may tear the end of a file.
	KeepRandom
	// KeepAll leaves everything, as when the disk had been synced; KillClone is the death of the process alone.
	KeepAll
)

// CrashOptions says how a crash goes.
type CrashOptions struct {
	KeepUnsynced Keep
	// Rand decides for KeepRandom, which requires it. Equal seeds on equal disks give equal clones.
	Rand *rand.Rand
	// BlockBytes is the unit in which unsynced bytes are kept or not. 0 means 4096, a page;
	// 512 is the other size that disks have.
	BlockBytes int
}

const pageBytes = 4096

// edit points a name in a directory to a node, or removes it (nil).
type edit struct {
	dir  *node
	name string
	to   *node
}

// change is a set of edits that a crash keeps all or none of (D2).
type change []edit

// entry identifies a name.
type entry struct {
	dir  *node
	name string
}

func (c change) touches(entries map[entry]bool) bool {
	for _, e := range c {
		if entries[entry{e.dir, e.name}] {
			return true
		}
	}
	return false
}

func (c change) mark(entries map[entry]bool) {
	for _, e := range c {
		entries[entry{e.dir, e.name}] = true
	}
}

// changeLocked edits names now and leaves the edits to be made durable.
func (m *Mem) changeLocked(edits ...edit) {
	for _, e := range edits {
		setName(e.dir.names, e.name, e.to)
	}
	m.mu.journal = append(m.mu.journal, edits)
}

func setName(names map[string]*node, name string, to *node) {
	if to == nil {
		delete(names, name)
		return
	}
	names[name] = to
}

// settleLocked makes the names in dir durable: every change that edits dir, and every earlier
// one on which such a change builds.
func (m *Mem) settleLocked(dir *node) {
	settled := make([]bool, len(m.mu.journal))
	needed := map[entry]bool{}
	for i := len(m.mu.journal) - 1; i >= 0; i-- {
		c := m.mu.journal[i]
		for _, e := range c {
			settled[i] = settled[i] || e.dir == dir
		}
		if settled[i] = settled[i] || c.touches(needed); settled[i] {
			c.mark(needed)
		}
	}
	var rest []change
	for i, c := range m.mu.journal {
		if !settled[i] {
			rest = append(rest, c)
			continue
		}
		for _, e := range c {
			setName(e.dir.durable, e.name, e.to)
		}
	}
	m.mu.journal = rest
}

// CrashClone returns the disk as a crash at this moment would leave it. The origin goes on
// unharmed; neither sees the other's later changes (D4). Safe to call while others use m.
func (m *Mem) CrashClone(o CrashOptions) *Mem {
	if o.BlockBytes == 0 {
		o.BlockBytes = pageBytes
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := &cloner{options: o, names: map[*node]map[string]*node{}, done: map[*node]*node{}}
	c.keepNames(m.mu.journal)
	clone := NewMem()
	clone.mu.root = c.clone(m.mu.root)
	return clone
}

// cloner makes one crash clone.
type cloner struct {
	options CrashOptions
	names   map[*node]map[string]*node // directories that got unsynced names
	done    map[*node]*node            // origin to clone: a file with two names stays one file
}

// keepNames picks the unsynced changes that the crash keeps. A change is not kept if an earlier
// one of the same name was lost.
func (c *cloner) keepNames(journal []change) {
	if c.options.KeepUnsynced == KeepNone {
		return
	}
	odds := c.odds()
	lost := map[entry]bool{}
	for _, ch := range journal {
		if ch.touches(lost) || !c.chance(odds) {
			ch.mark(lost)
			continue
		}
		for _, e := range ch {
			if c.names[e.dir] == nil {
				c.names[e.dir] = maps.Clone(e.dir.durable)
			}
			setName(c.names[e.dir], e.name, e.to)
		}
	}
}

// odds draws how likely things are to be kept in this clone, so that clones with nearly all and
// with nearly nothing both occur.
func (c *cloner) odds() float64 {
	if c.options.KeepUnsynced != KeepRandom {
		return 1
	}
	return [...]float64{0.1, 0.5, 0.9}[c.options.Rand.IntN(3)]
}

func (c *cloner) chance(odds float64) bool {
	switch c.options.KeepUnsynced {
	case KeepNone:
		return false
	case KeepAll:
		return true
	}
	return c.options.Rand.Float64() < odds
}

func (c *cloner) clone(n *node) *node {
	if done, ok := c.done[n]; ok {
		return done
	}
	if !n.isDir() {
		clone := &node{contents: c.contents(&n.contents)}
		c.done[n] = clone
		return clone
	}
	clone := newDir()
	c.done[n] = clone
	names, ok := c.names[n]
	if !ok {
		names = n.durable
	}
	for _, name := range sortedNames(names) { // sorted: the order draws from Rand
		child := c.clone(names[name])
		clone.names[name], clone.durable[name] = child, child
	}
	return clone
}

// contents returns what the crash leaves of a file; all of it counts as synced.
func (c *cloner) contents(from *contents) contents {
	if from.before != nil && !c.chance(0.5) {
		return contents{data: from.before, synced: len(from.before)}
	}
	data := c.tail(from)
	if from.sectors != nil {
		data = slices.Clone(data)
		c.sectorsAfterCrash(from, data)
	}
	if len(from.lost) > 0 {
		data = append([]byte(nil), data...)
		for _, s := range from.lost {
			if s.start < len(data) && !c.chance(0.5) {
				clear(data[s.start:min(s.end, len(data))])
			}
		}
	}
	return contents{data: data, synced: len(data)}
}

// tail returns the synced bytes of a file and what the crash leaves of the others.
func (c *cloner) tail(from *contents) []byte {
	synced := from.data[:from.synced:from.synced]
	switch {
	case c.options.KeepUnsynced == KeepNone || from.synced == len(from.data):
		return synced
	case c.options.KeepUnsynced == KeepAll:
		return from.data[:len(from.data):len(from.data)]
	}
	r := c.options.Rand
	end := len(from.data)
	switch r.IntN(3) {
	case 0: // the new length did not reach the disk
		return synced
	case 1: // a part of it did: the last write is torn
		end = from.synced + r.IntN(end-from.synced+1)
	}
	kept := append(synced, from.data[from.synced:end]...) // copies: synced has no spare capacity
	odds := c.odds()
	for start := from.synced; start < end; {
		next := min(end, (start/c.options.BlockBytes+1)*c.options.BlockBytes)
		if !c.chance(odds) {
			c.loseBlock(kept[start:next])
		}
		start = next
	}
	return kept
}

// loseBlock fills a block that was not written: with zeros, or with what was there before.
func (c *cloner) loseBlock(block []byte) {
	if c.options.Rand.IntN(4) > 0 {
		clear(block)
		return
	}
	for i := range block {
		block[i] = byte(c.options.Rand.Uint32())
	}
}
