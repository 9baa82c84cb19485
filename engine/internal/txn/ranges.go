package txn

import (
	"bytes"
	"slices"
	"sort"
)

// Range is the keys in [Start, End); a nil End is the end of all keys.
type Range struct{ Start, End []byte }

// Covers reports whether a key is in the range.
func (r *Range) Covers(key []byte) bool {
	return bytes.Compare(r.Start, key) <= 0 && (r.End == nil || bytes.Compare(key, r.End) < 0)
}

// Ranges are what a transaction has walked over, or has deleted.
type Ranges struct {
	list   []Range
	bytes  int
	joined int // the first so many are sorted and do not touch
}

// Len is how many there are.
func (r *Ranges) Len() int { return len(r.list) }

// At gives a range by its number.
func (r *Ranges) At(i int) *Range { return &r.list[i] }

// Bytes is about how much memory the ranges take.
func (r *Ranges) Bytes() int { return r.bytes + 48*len(r.list) }

// Add notes that a walk has seen [start, end), which are copied, and gives the number of the range.
func (r *Ranges) Add(start, end []byte) int {
	r.list = append(r.list, Range{Start: bytes.Clone(start), End: bytes.Clone(end)})
	r.bytes += len(start) + len(end)
	return len(r.list) - 1
}

// Up says that the walk has seen everything up to a key and that, too.
func (r *Ranges) Up(i int, key []byte) {
	g := &r.list[i]
	if g.End == nil || bytes.Compare(key, g.End) < 0 {
		return
	}
	r.bytes += len(key) + 1 - len(g.End)
	g.End = append(append(g.End[:0], key...), 0)
}

// UpTo says that the walk has seen everything before an end; nil is the end of all keys.
func (r *Ranges) UpTo(i int, end []byte) {
	if g := &r.list[i]; end == nil {
		g.End = nil
	} else if g.End != nil && bytes.Compare(end, g.End) > 0 {
		r.bytes += len(end) - len(g.End)
		g.End = append(g.End[:0], end...)
	}
}

// DownTo says that the walk has seen everything from a key on.
func (r *Ranges) DownTo(i int, start []byte) {
	if g := &r.list[i]; bytes.Compare(start, g.Start) < 0 {
		r.bytes += len(start) - len(g.Start)
		g.Start = append(g.Start[:0], start...)
	}
}

// Join sorts the ranges and joins those that touch.
func (r *Ranges) Join() {
	if r.joined == len(r.list) {
		return
	}
	slices.SortFunc(r.list, func(a, b Range) int { return bytes.Compare(a.Start, b.Start) })
	joined := r.list[:0]
	for _, g := range r.list {
		last := len(joined) - 1
		switch {
		case last < 0 || joined[last].End != nil && bytes.Compare(g.Start, joined[last].End) > 0:
			joined = append(joined, g)
		case g.End == nil || joined[last].End != nil && bytes.Compare(g.End, joined[last].End) > 0:
			joined[last].End = g.End
		}
	}
	clear(r.list[len(joined):])
	r.list, r.joined, r.bytes = joined, len(joined), 0
	for i := range joined {
		r.bytes += len(joined[i].Start) + len(joined[i].End)
	}
}

// Covering joins the ranges and gives the one that a key is in, or nil.
func (r *Ranges) Covering(key []byte) *Range {
	r.Join()
	i := sort.Search(len(r.list), func(i int) bool { return bytes.Compare(r.list[i].Start, key) > 0 })
	if i > 0 && r.list[i-1].Covers(key) {
		return &r.list[i-1]
	}
	return nil
}

// Reset forgets all ranges.
func (r *Ranges) Reset() { clear(r.list); r.list, r.bytes, r.joined = r.list[:0], 0, 0 }
