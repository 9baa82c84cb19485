package vfs

import (
	"maps"
	"slices"
)

// KillClone returns the disk as the death of the process alone leaves it, with the kernel alive: everything is there, and what was
// not synced still is not, so that a later crash may take it from under the next process. Locks are gone. The origin goes
// on unharmed; neither sees the other's later changes (D4). Safe to call while others use m.
func (m *Mem) KillClone() *Mem {
	m.mu.RLock()
	defer m.mu.RUnlock()
	k := killer{}
	clone := NewMem()
	clone.mu.root = k.clone(m.mu.root)
	for _, c := range m.mu.journal {
		copied := make(change, len(c))
		for i, e := range c {
			copied[i] = edit{k.clone(e.dir), e.name, k.clone(e.to)}
		}
		clone.mu.journal = append(clone.mu.journal, copied)
	}
	return clone
}

// killer makes one kill clone. It maps origins to clones.
type killer map[*node]*node

func (k killer) clone(n *node) *node {
	if n == nil {
		return nil
	}
	if done, ok := k[n]; ok {
		return done
	}
	if !n.isDir() {
		k[n] = &node{contents: n.copied()}
		return k[n]
	}
	clone := newDir()
	k[n] = clone
	for name, child := range n.names {
		clone.names[name] = k.clone(child)
	}
	for name, child := range n.durable {
		clone.durable[name] = k.clone(child)
	}
	return clone
}

// copied shares only bytes that are never changed in place.
func (c *contents) copied() contents {
	next := *c
	next.lost = slices.Clone(c.lost)
	if c.synced < len(c.data) || c.sectors != nil {
		next.data = slices.Clone(c.data)
	} else {
		next.data = slices.Clip(c.data)
	}
	if c.sectors != nil { // what a sector held before is never changed in place
		next.sectors = &sectors{dirty: maps.Clone(c.sectors.dirty), lost: maps.Clone(c.sectors.lost)}
	}
	return next
}
