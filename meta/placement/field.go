package placement

import (
	"cmp"
	"math/bits"
	"slices"
)

// field is items on bins that are to be even: replicas on nodes, or leaderships on nodes. It is
// even by count before it is even by load.
type field struct {
	holds [][]int // the items of each bin
	share []int64 // what each bin should hold, in thousandths
	low   []int   // the least and the most that a bin holds without being out of balance
	high  []int
	size  []int64 // of each item, in parts of whole
	load  []int64 // of each bin, in parts of whole
	ideal []int64 // load in proportion to share

	// allowed reports whether an item may go from one bin to another.
	allowed func(item, from, to int) bool
	// lately reports whether an item may not go for load; nil for none.
	lately func(item int) bool
	// better is positive when item a rather than b should go from one bin to another.
	better func(a, b, from, to int) int
}

// whole is all load together.
const whole = 1_000_000_000

const (
	// tolerance is how far from its share, as 1/tolerance of it, the count of a bin may be; one item
	// is always tolerated.
	tolerance = 10
	// deadBand is how far from its ideal load, in thousandths, a bin is before load moves anything.
	deadBand = 150
	// rounding is what divisions may lose of a fill, in thousandths.
	rounding = 3
)

// transfer moves an item between bins.
type transfer struct {
	item, from, to int
	byLoad         bool
}

// bounds sets low and high from shares. Tight bounds are the share rounded down and up.
func (f *field) bounds(items int, tight bool) {
	f.low, f.high = make([]int, len(f.share)), make([]int, len(f.share))
	for i, s := range f.share {
		if tight {
			f.low[i], f.high[i] = int(s/one), int((s+one-1)/one)
			continue
		}
		slack := max(one, s/tolerance)
		f.low[i] = int(max(0, s-slack+one-1) / one)
		f.high[i] = min(items, int((s+slack)/one))
	}
}

// weigh sets loads from sizes, which add up to whole, and the ideal from shares.
func (f *field) weigh() {
	f.load, f.ideal = make([]int64, len(f.holds)), make([]int64, len(f.holds))
	sum := int64(0)
	for _, s := range f.share {
		sum += s
	}
	for bin, items := range f.holds {
		for _, item := range items {
			f.load[bin] += f.size[item]
		}
		f.ideal[bin] = part(f.share[bin], sum)
	}
}

// part is x of total as a part of whole.
func part(x, total int64) int64 {
	if x <= 0 || total <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(min(x, total)), whole)
	quotient, _ := bits.Div64(high, low, uint64(total))
	return int64(quotient)
}

// fill is load by ideal, in thousandths.
func (f *field) fill(bin int) int64 { return f.load[bin] * 1000 / max(1, f.ideal[bin]) }

// apply performs t.
func (f *field) apply(t transfer) {
	at := slices.Index(f.holds[t.from], t.item)
	f.holds[t.from] = slices.Delete(f.holds[t.from], at, at+1)
	f.holds[t.to] = append(f.holds[t.to], t.item)
	f.load[t.from] -= f.size[t.item]
	f.load[t.to] += f.size[t.item]
}

// next finds a transfer that makes the field more even. Repeated, it comes to an end: a transfer by
// count lessens what is out of bounds or shortens the way to that, and one by load lessens the sum of
// load squared by ideal, and neither undoes the other (L7).
func (f *field) next() (transfer, bool) {
	if hops := f.byCount(); len(hops) > 0 {
		return hops[0], true
	}
	return f.byLoad()
}

// byCount looks at bins beyond their bounds, the worst first, and returns the way to mend one. Its first
// hop alone puts nothing beyond its bounds, if these have room for one more.
func (f *field) byCount() []transfer {
	bins := make([]int, len(f.holds))
	for i := range bins {
		bins[i] = i
	}
	over := func(b int) int { return len(f.holds[b]) - f.high[b] }
	under := func(b int) int { return f.low[b] - len(f.holds[b]) }
	slices.SortStableFunc(bins, func(a, b int) int { return cmp.Compare(over(b), over(a)) })
	for _, b := range bins {
		if over(b) <= 0 {
			break
		}
		if hops := f.relieve(b); len(hops) > 0 {
			return hops
		}
	}
	slices.SortStableFunc(bins, func(a, b int) int { return cmp.Compare(under(b), under(a)) })
	for _, b := range bins {
		if under(b) <= 0 {
			break
		}
		if hops := f.supply(b); len(hops) > 0 {
			return hops
		}
	}
	return nil
}

// relieve finds the shortest way from a bin that holds too much to one with room, over bins that pass
// on another item.
func (f *field) relieve(bin int) []transfer {
	return f.search(bin, true, func(b int) bool { return len(f.holds[b]) < f.high[b] })
}

// supply finds the shortest way to a bin that holds too little.
func (f *field) supply(bin int) []transfer {
	return f.search(bin, false, func(b int) bool { return len(f.holds[b]) > f.low[b] })
}

// search walks from a bin in rings of equal distance, along transfers or against them, and returns
// the way to the best bin of the nearest ring that has one, the hop at its far end first.
func (f *field) search(start int, along bool, found func(int) bool) []transfer {
	hops := make([]*transfer, len(f.holds)) // how each bin was reached
	hops[start] = &transfer{}
	for ring := []int{start}; len(ring) > 0; {
		best := -1
		var further []int
		for _, near := range ring {
			for _, far := range f.reach(near, along, hops) {
				further = append(further, far)
				if found(far) && (best < 0 || along == (f.fill(far) < f.fill(best))) {
					best = far
				}
			}
		}
		if best >= 0 {
			return way(hops, start, best, along)
		}
		ring = further
	}
	return nil
}

// reach notes and returns the bins that were not reached before and are one transfer away.
func (f *field) reach(near int, along bool, hops []*transfer) []int {
	var out []int
	for far := range f.holds {
		from, to := near, far
		if !along {
			from, to = far, near
		}
		if hops[far] != nil {
			continue
		}
		if item := f.pick(from, to); item >= 0 {
			hops[far] = &transfer{item: item, from: from, to: to}
			out = append(out, far)
		}
	}
	return out
}

func way(hops []*transfer, start, end int, along bool) []transfer {
	var out []transfer
	for bin := end; bin != start; {
		out = append(out, *hops[bin])
		if along {
			bin = hops[bin].from
		} else {
			bin = hops[bin].to
		}
	}
	return out
}

// pick is the item that should go from one bin to another, -1 when none may.
func (f *field) pick(from, to int) int {
	best := -1
	for _, item := range f.holds[from] {
		if f.allowed(item, from, to) && (best < 0 || f.better(item, best, from, to) > 0) {
			best = item
		}
	}
	return best
}

// settle takes whole ways by count until none is left. Bounds may be tight.
func (f *field) settle(apply func(transfer)) {
	for range f.items() {
		hops := f.byCount()
		if len(hops) == 0 {
			return
		}
		for _, t := range hops {
			if !f.allowed(t.item, t.from, t.to) {
				return
			}
			apply(t)
		}
	}
}

func (f *field) items() int {
	sum := 0
	for _, items := range f.holds {
		sum += len(items)
	}
	return sum
}

// byLoad looks at the fullest and the emptiest bin, and at nothing within the dead band.
func (f *field) byLoad() (transfer, bool) {
	bins := make([]int, 0, len(f.holds))
	for i := range f.holds {
		if f.ideal[i] > 0 {
			bins = append(bins, i)
		}
	}
	if len(bins) == 0 {
		return transfer{}, false
	}
	slices.SortStableFunc(bins, func(a, b int) int { return cmp.Compare(f.fill(a), f.fill(b)) })
	if top := bins[len(bins)-1]; f.off(top) {
		for _, b := range bins {
			if t, ok := f.exchange(top, b); ok {
				return t, true
			}
		}
	}
	if bottom := bins[0]; f.off(bottom) {
		for _, b := range slices.Backward(bins) {
			if t, ok := f.exchange(b, bottom); ok {
				return t, true
			}
		}
	}
	return transfer{}, false
}

// off reports whether a bin's load is out of the dead band by at least an item of average size.
func (f *field) off(bin int) bool {
	items := int64(max(1, f.items()))
	distance := max(f.load[bin]-f.ideal[bin], f.ideal[bin]-f.load[bin])
	return distance*1000 >= deadBand*f.ideal[bin] && distance >= whole/items-items // sizes are rounded down
}

// exchange finds the item that brings two bins closest together, if one does. What turns their order
// round is refused, since it would soon be wanted back.
func (f *field) exchange(from, to int) (transfer, bool) {
	gap := f.fill(from) - f.fill(to)
	if from == to || gap < deadBand || len(f.holds[from]) <= f.low[from] || len(f.holds[to]) >= f.high[to] {
		return transfer{}, false
	}
	best, bestGap := -1, gap
	for _, item := range f.holds[from] {
		if !f.allowed(item, from, to) || f.lately != nil && f.lately(item) {
			continue
		}
		rest := (f.load[from]-f.size[item])*1000/f.ideal[from] - (f.load[to]+f.size[item])*1000/f.ideal[to]
		if rest < -rounding {
			continue
		}
		if rest < bestGap || best >= 0 && rest == bestGap && f.better(item, best, from, to) > 0 {
			best, bestGap = item, rest
		}
	}
	return transfer{item: best, from: from, to: to, byLoad: true}, best >= 0
}
