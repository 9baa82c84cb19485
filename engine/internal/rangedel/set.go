package rangedel

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// Tombstone makes the keys in [Start, End) absent from a version on, for who sees its sequence.
type Tombstone struct {
	Start, End        []byte
	Version, Sequence uint64
}

// Covers reports whether a key is in the range.
func (t *Tombstone) Covers(user []byte) bool {
	return bytes.Compare(t.Start, user) <= 0 && bytes.Compare(user, t.End) < 0
}

// Hides reports whether a row of a key in the range comes before the tombstone.
func (t *Tombstone) Hides(version, sequence uint64) bool {
	return version < t.Version || version == t.Version && sequence < t.Sequence
}

// Bytes is about what the tombstone takes in memory.
func (t *Tombstone) Bytes() int { return tombstoneBytes + len(t.Start) + len(t.End) }

// tombstoneBytes is a tombstone and its node, without its keys.
const tombstoneBytes = 64 + 40

// Compare orders tombstones by start, then newest first.
func Compare(a, b *Tombstone) int {
	if c := bytes.Compare(a.Start, b.Start); c != 0 {
		return c
	}
	if c := cmp.Compare(b.Version, a.Version); c != 0 {
		return c
	}
	return cmp.Compare(b.Sequence, a.Sequence)
}

// Set is tombstones that can be searched. Nil is the empty one. Immutable (RG1).
type Set struct {
	trees []*tree // the larger ones first
	count int
	bytes int
}

// NewSet makes a set, or nil of none. It takes the list over.
func NewSet(list []Tombstone) *Set {
	if len(list) == 0 {
		return nil
	}
	s := &Set{trees: []*tree{newTree(list)}, count: len(list)}
	for i := range list {
		s.bytes += list[i].Bytes()
	}
	return s
}

// With is the set with one more.
func (s *Set) With(t Tombstone) *Set {
	list := []Tombstone{t}
	next := &Set{count: s.Len() + 1, bytes: s.Bytes() + t.Bytes()}
	if s != nil {
		next.trees = slices.Clip(s.trees)
	}
	for n := len(next.trees); n > 0 && len(next.trees[n-1].list) <= len(list); n = len(next.trees) {
		list = append(list, next.trees[n-1].list...)
		next.trees = slices.Clip(next.trees[:n-1])
	}
	next.trees = append(next.trees, newTree(list))
	return next
}

// Len is how many tombstones there are.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return s.count
}

// Bytes is about what they take in memory.
func (s *Set) Bytes() int {
	if s == nil {
		return 0
	}
	return s.bytes
}

// All lists the tombstones, in no order. Their bytes are read-only.
func (s *Set) All() []Tombstone {
	if s == nil {
		return nil
	}
	all := make([]Tombstone, 0, s.count)
	for _, t := range s.trees {
		all = append(all, t.list...)
	}
	return all
}

// Newest gives version and sequence of the newest tombstone that covers the key of at, with neither above at's.
func (s *Set) Newest(at record.Key) (version, sequence uint64, ok bool) {
	if t := s.Cover(at); t != nil {
		return t.Version, t.Sequence, true
	}
	return 0, 0, false
}

// Cover gives the tombstone that Newest tells of, or nil.
func (s *Set) Cover(at record.Key) *Tombstone {
	if s == nil {
		return nil
	}
	q := newest{at: at}
	for _, t := range s.trees {
		q.search(t, 0, len(t.list))
	}
	return q.found
}

// Meeting gives a tombstone with a sequence above one that has a key in [start, end), where nil is no end; nil if there is none.
func (s *Set) Meeting(start, end []byte, sequence uint64) *Tombstone {
	if s == nil {
		return nil
	}
	for _, t := range s.trees {
		if found := t.meeting(start, end, sequence, 0, len(t.list)); found != nil {
			return found
		}
	}
	return nil
}

// newest is a search on its way.
type newest struct {
	at    record.Key
	found *Tombstone
	looks int // how many tombstones it has looked at
}

// search looks into the part [low, high) of a tree.
func (q *newest) search(t *tree, low, high int) {
	for low < high {
		q.looks++
		middle := int(uint(low+high) / 2)
		n := &t.nodes[middle]
		if bytes.Compare(t.list[n.end].End, q.at.User) <= 0 || n.oldest.After(&q.at) ||
			q.found != nil && q.found.Hides(n.newest.version, n.newest.sequence) {
			return
		}
		c := &t.list[middle]
		if bytes.Compare(q.at.User, c.Start) < 0 {
			high = middle
			continue
		}
		if c.Version <= q.at.Version && c.Sequence <= q.at.Sequence && bytes.Compare(q.at.User, c.End) < 0 &&
			(q.found == nil || c.Hides(q.found.Version, q.found.Sequence)) {
			q.found = c
		}
		q.search(t, low, middle)
		low = middle + 1
	}
}
