package rangedel

import (
	"bytes"
	"cmp"
	"slices"
)

// Join makes one tombstone of the pieces of each, where they touch, and sorts them. It takes the list over.
func Join(list []Tombstone) []Tombstone {
	slices.SortFunc(list, func(a, b Tombstone) int {
		if c := cmp.Compare(a.Sequence, b.Sequence); c != 0 { // which each tombstone has for its own
			return c
		}
		return bytes.Compare(a.Start, b.Start)
	})
	joined := list[:0]
	for _, t := range list {
		if n := len(joined); n > 0 && joined[n-1].Sequence == t.Sequence && bytes.Compare(t.Start, joined[n-1].End) <= 0 {
			if bytes.Compare(t.End, joined[n-1].End) > 0 {
				joined[n-1].End = t.End
			}
			continue
		}
		joined = append(joined, t)
	}
	slices.SortFunc(joined, func(a, b Tombstone) int { return Compare(&a, &b) })
	return joined
}

// Cut gives the pieces of a sorted list that cover keys up to one, that included, and those that cover keys behind it (RG2). Both are
// sorted.
func Cut(list []Tombstone, last []byte) (upTo, behind []Tombstone) {
	next := append(bytes.Clone(last), 0) // the key behind the last one
	for i, t := range list {
		if bytes.Compare(t.Start, last) > 0 {
			behind = append(behind, list[i:]...)
			break
		}
		if bytes.Compare(t.End, next) > 0 {
			rest := t
			t.End, rest.Start = next, next
			behind = append(behind, rest)
		}
		upTo = append(upTo, t)
	}
	slices.SortFunc(behind, func(a, b Tombstone) int { return Compare(&a, &b) })
	return upTo, behind
}

// Last gives the last key that a tombstone may cover, or one behind it.
func (t *Tombstone) Last() []byte {
	if n := len(t.End) - 1; n >= 0 && t.End[n] == 0 {
		return t.End[:n]
	}
	return t.End
}

// Span is the keys in [Start, End).
type Span struct{ Start, End []byte }

// Spans are the keys that any tombstone covers, sorted and disjoint.
func (s *Set) Spans() (spans []Span) {
	all := s.All()
	if s != nil && len(s.trees) > 1 {
		slices.SortFunc(all, func(a, b Tombstone) int { return Compare(&a, &b) })
	}
	for i := range all {
		t := &all[i]
		if n := len(spans); n > 0 && bytes.Compare(t.Start, spans[n-1].End) <= 0 {
			if bytes.Compare(t.End, spans[n-1].End) > 0 {
				spans[n-1].End = t.End
			}
			continue
		}
		spans = append(spans, Span{t.Start, t.End})
	}
	return spans
}
