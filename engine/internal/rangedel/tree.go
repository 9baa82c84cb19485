package rangedel

import (
	"bytes"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// tree is tombstones sorted by start. A part [low, high) of the list has its middle for a root, and the parts before and behind that for
// children.
type tree struct {
	list  []Tombstone
	nodes []node // by root
}

// node says what a part has.
type node struct {
	end    int  // which tombstone has the greatest end
	newest time // the greatest version, and the greatest sequence
	oldest time // the least version, and the least sequence
}

// time is a bound of versions and sequences: no tombstone of a part need have both.
type time struct{ version, sequence uint64 }

// Before reports whether nothing up to the bound comes after a row.
func (t time) Before(k *record.Key) bool {
	return t.version < k.Version || t.version == k.Version && t.sequence <= k.Sequence
}

// After reports whether nothing from the bound on is seen at a time.
func (t time) After(k *record.Key) bool { return t.version > k.Version || t.sequence > k.Sequence }

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
	own := time{t.list[middle].Version, t.list[middle].Sequence}
	*n = node{end: middle, newest: own, oldest: own}
	for _, child := range []*node{t.plant(low, middle), t.plant(middle+1, high)} {
		if child == nil {
			continue
		}
		if bytes.Compare(t.list[child.end].End, t.list[n.end].End) > 0 {
			n.end = child.end
		}
		n.newest = time{max(n.newest.version, child.newest.version), max(n.newest.sequence, child.newest.sequence)}
		n.oldest = time{min(n.oldest.version, child.oldest.version), min(n.oldest.sequence, child.oldest.sequence)}
	}
	return n
}

// meeting finds a tombstone of a part with a key in [start, end) and a later sequence.
func (t *tree) meeting(start, end []byte, sequence uint64, low, high int) *Tombstone {
	for low < high {
		middle := int(uint(low+high) / 2)
		n := &t.nodes[middle]
		if n.newest.sequence <= sequence || bytes.Compare(t.list[n.end].End, start) <= 0 {
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
