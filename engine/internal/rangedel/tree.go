package rangedel

import (
	"bytes"
	"slices"
)

// tree is tombstones sorted by start. A part [low, high) of the list has its middle for a root, and the parts before and behind that for
// children.
type tree struct {
	list  []Tombstone
	nodes []node // by root
}

// node says what a part has.
type node struct {
	end      int    // which tombstone has the greatest end
	version  uint64 // the greatest one
	sequence uint64 // the greatest one
}

// newTree takes the list over.
func newTree(list []Tombstone) *tree {
	slices.SortFunc(list, func(a, b Tombstone) int { return Compare(&a, &b) })
	t := &tree{list: list, nodes: make([]node, len(list))}
	t.plant(0, len(list))
	return t
}

// plant makes the nodes of a part and gives its root.
func (t *tree) plant(low, high int) *node {
	if low >= high {
		return nil
	}
	middle := int(uint(low+high) / 2)
	n := &t.nodes[middle]
	*n = node{end: middle, version: t.list[middle].Version, sequence: t.list[middle].Sequence}
	for _, child := range []*node{t.plant(low, middle), t.plant(middle+1, high)} {
		if child == nil {
			continue
		}
		if bytes.Compare(t.list[child.end].End, t.list[n.end].End) > 0 {
			n.end = child.end
		}
		n.version, n.sequence = max(n.version, child.version), max(n.sequence, child.sequence)
	}
	return n
}

// covering visits what covers a key in a part; false if visit has ended it.
func (t *tree) covering(user []byte, low, high int, visit func(*Tombstone) bool) bool {
	for low < high {
		middle := int(uint(low+high) / 2)
		if bytes.Compare(t.list[t.nodes[middle].end].End, user) <= 0 {
			return true
		}
		c := &t.list[middle]
		if bytes.Compare(user, c.Start) < 0 {
			high = middle
			continue
		}
		if bytes.Compare(user, c.End) < 0 && !visit(c) || !t.covering(user, low, middle, visit) {
			return false
		}
		low = middle + 1
	}
	return true
}

// meeting finds a tombstone of a part with a key in [start, end) and a later sequence.
func (t *tree) meeting(start, end []byte, sequence uint64, low, high int) *Tombstone {
	for low < high {
		middle := int(uint(low+high) / 2)
		n := &t.nodes[middle]
		if n.sequence <= sequence || bytes.Compare(t.list[n.end].End, start) <= 0 {
			return nil
		}
		c := &t.list[middle]
		if end != nil && bytes.Compare(end, c.Start) <= 0 {
			high = middle
			continue
		}
		if c.Sequence > sequence && bytes.Compare(start, c.End) < 0 {
			return c
		}
		if found := t.meeting(start, end, sequence, low, middle); found != nil {
			return found
		}
		low = middle + 1
	}
	return nil
}
