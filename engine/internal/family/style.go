package family

import (
	"bytes"
	"cmp"
	"slices"
)

// Styles are how tables keep the rows of those families that differ from the store. Nil is of none.
type Styles struct {
	list []style // in the order of keys
	last int     // the one that was found last: rows come in order
}

type style struct {
	start, end []byte
	entry      Entry
}

// NewStyles makes them of the families that there are.
func NewStyles(entries []Entry) *Styles {
	s := &Styles{}
	for _, e := range entries {
		if e.NewestOnly || e.OwnCompression {
			s.list = append(s.list, style{Prefix(e.ID), End(Prefix(e.ID)), e})
		}
	}
	if len(s.list) == 0 {
		return nil
	}
	slices.SortFunc(s.list, func(a, b style) int { return cmp.Compare(a.entry.ID, b.entry.ID) })
	return s
}

// Walk gives a copy for one walk over rows in order.
func (s *Styles) Walk() *Styles {
	if s == nil {
		return nil
	}
	return &Styles{list: s.list}
}

// Of gives the entry of the family that a key is of, if that is one of them.
func (s *Styles) Of(key []byte) (e Entry, ok bool) {
	if s == nil {
		return e, false
	}
	if f := &s.list[s.last]; bytes.Compare(f.start, key) <= 0 && bytes.Compare(key, f.end) < 0 {
		return f.entry, true
	}
	i, found := slices.BinarySearchFunc(s.list, key, func(f style, key []byte) int {
		switch {
		case bytes.Compare(f.end, key) <= 0:
			return -1
		case bytes.Compare(f.start, key) > 0:
			return 1
		}
		return 0
	})
	if !found {
		return e, false
	}
	s.last = i
	return s.list[i].entry, true
}
