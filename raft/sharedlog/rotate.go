package sharedlog

import (
	"slices"
	"sort"
)

// rotate ends the segment and begins the next one:
//
//  1. the records that are gathered become durable;
//  2. a free file, or a new one, becomes a segment: its header is durable;
//  3. the seal, which names it, becomes durable.
//
// A crash before 3 leaves an empty segment that nobody looks for.
func (w *writer) rotate() error {
	l := w.log
	if err := w.commit(); err != nil {
		return err
	}
	next, err := l.newSegment(w.segment.sequence + 1)
	if err != nil {
		return err
	}
	w.batch = w.position()
	if _, err := w.put(sealTo(next)); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	l.segments.Lock()
	l.segments.list = append(l.segments.list, next)
	l.segments.Unlock()
	w.segment, w.batch = next, dataStart
	return nil
}

func sealTo(next *segment) *record {
	return &record{kind: kindSeal, index: uint64(next.sequence), term: next.id}
}

// giveBack gives the oldest segments free that nobody needs any more, as soon as that is so: a node
// whose writes have ended must not hold their space for ever. A record that says so is durable before (LG6).
func (w *writer) giveBack() error {
	list := w.log.segments.list
	n := 0
	for n < len(list)-1 && list[n].live == 0 {
		n++
	}
	if n == 0 {
		return nil
	}
	w.batch = w.position()
	if _, err := w.add(&record{kind: kindOldest, index: uint64(list[n].sequence)}); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	return w.retire(n)
}

// retire gives the files of the n oldest segments free.
func (w *writer) retire(n int) error {
	l := w.log
	var files []segmentFile
	for _, s := range l.segments.list[:n] {
		files = append(files, s.segmentFile)
	}
	l.segments.Lock()
	l.segments.list = slices.Clone(l.segments.list[n:])
	l.segments.Unlock()
	l.oldest = l.segments.list[0].sequence
	return l.release(files...)
}

// carrier copies what idle groups still need from the oldest segment to the end of the log, a
// little with each batch, so that they never keep it from being used again.
type carrier struct {
	from  uint32 // the segment that items are of
	items []carriedItem
	moved []carriedItem // in this batch
}

// carriedItem is one live record of the oldest segment.
type carriedItem struct {
	group   *group // nil: a dropped replica
	dropped uint64 // its group
	index   uint64 // of an entry, 0 if it is none
	key     string // of a stable value, "" if it is none
	to      location
}

const (
	// A carryShare-th of a segment is the most that is carried out of it in ordinary times; what is
	// more than that is left to the groups, which cut their logs.
	carryShare = 8
	// carryBytes bounds what one batch carries.
	carryBytes = 256 << 10
	// carryFrom is how many segments are in use before anything is carried.
	carryFrom = 3
)

// write adds what is to be carried to the batch.
func (c *carrier) write(w *writer) error {
	c.moved = c.moved[:0]
	list := w.log.segments.list
	oldest := list[0]
	if len(list) < carryFrom || oldest.live == 0 {
		return nil
	}
	if w.log.tooMuch(oldest) && !w.log.stuck() {
		return nil
	}
	if c.from != oldest.sequence {
		c.from, c.items = oldest.sequence, w.log.itemsOf(oldest.sequence)
	}
	limit := min(carryBytes, w.log.opts.SegmentBytes/carryShare)
	for size := int64(0); len(c.items) > 0 && size < limit; c.items = c.items[1:] {
		item := c.items[0]
		r, ok := w.log.current(&item, oldest)
		if !ok {
			continue
		}
		at, err := w.add(r)
		if err != nil {
			return err
		}
		item.to = at
		c.moved = append(c.moved, item)
		size += recordBytes(len(r.payload))
	}
	return nil
}

// waiting reports whether segments can be given back by carrying what is left in the oldest, so that the
// writer goes on with it though nobody writes. What is damaged cannot be carried, and waits for its group.
func (c *carrier) waiting(l *Log) bool {
	list := l.segments.list
	if len(list) <= carryFrom || list[0].live == 0 || l.tooMuch(list[0]) && !l.stuck() {
		return false
	}
	return c.from != list[0].sequence || len(c.items) > 0
}

// tooMuch reports whether more is live in a segment than is carried out of it in ordinary times.
func (l *Log) tooMuch(s *segment) bool { return s.liveBytes > l.opts.SegmentBytes/carryShare }

// stuck reports whether the log is so far above its limit that whoever pins it does not help, and
// holds little enough for carrying all of it to help.
func (l *Log) stuck() bool {
	size := int64(len(l.segments.list)) * l.opts.SegmentBytes
	if size <= l.opts.MaxBytes+l.opts.MaxBytes/4 {
		return false
	}
	live := int64(0)
	for _, s := range l.segments.list {
		live += s.liveBytes
	}
	return live <= l.opts.MaxBytes/2
}

// itemsOf lists what is live in a segment.
func (l *Log) itemsOf(sequence uint32) []carriedItem {
	l.mu.Lock()
	groups := make([]*group, 0, len(l.mu.groups))
	for _, g := range l.mu.groups {
		groups = append(groups, g)
	}
	var items []carriedItem
	for id, d := range l.mu.dropped {
		if d.at.segment == sequence {
			items = append(items, carriedItem{dropped: id})
		}
	}
	l.mu.Unlock()
	sort.Slice(groups, func(i, j int) bool {
		a, b := groups[i].key, groups[j].key
		return a.group < b.group || a.group == b.group && a.incarnation < b.incarnation
	})
	for _, g := range groups {
		if g.created.segment == sequence {
			items = append(items, carriedItem{group: g})
		}
		keys := make([]string, 0, len(g.stable))
		for k, v := range g.stable {
			if v.at.segment == sequence {
				keys = append(keys, k)
			}
		}
		sort.Strings(keys)
		for _, k := range keys {
			items = append(items, carriedItem{group: g, key: k})
		}
		for i, at := range g.locations {
			if at.segment == sequence {
				items = append(items, carriedItem{group: g, index: g.first + uint64(i)})
			}
		}
	}
	return items
}

// locationOf is where an item is now; false if it is gone. Only the writer may call it.
func (l *Log) locationOf(item *carriedItem) (location, bool) {
	switch {
	case item.group == nil:
		l.mu.Lock()
		defer l.mu.Unlock()
		d, ok := l.mu.dropped[item.dropped]
		return d.at, ok
	case item.index != 0:
		return item.group.locationLocked(item.index)
	case item.key != "":
		v, ok := item.group.stable[item.key]
		return v.at, ok
	default:
		return item.group.created, item.group.created.segment != 0
	}
}

// current is the record for an item if it is still in the segment from. A damaged entry stays
// where it is: the group finds out when it reads it, and the segment waits.
func (l *Log) current(item *carriedItem, from *segment) (*record, bool) {
	at, ok := l.locationOf(item)
	if !ok || at.segment != from.sequence {
		return nil, false
	}
	if item.group == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		return &record{kind: kindDrop, group: item.dropped, incarnation: l.mu.dropped[item.dropped].incarnation}, true
	}
	r := &record{kind: kindCreate, group: item.group.key.group, incarnation: item.group.key.incarnation}
	switch {
	case item.index != 0:
		found, err := from.readEntry(item.group.key, item.index, at)
		return found, err == nil
	case item.key != "":
		r.kind = kindStable
		r.payload = stablePayload(nil, item.key, item.group.stable[item.key].value)
	}
	return r, true
}

// apply makes the copies the ones that count.
func (c *carrier) apply(w *writer) {
	for i := range c.moved {
		item := &c.moved[i]
		from, _ := w.log.locationOf(item) // nothing was applied since it was written
		switch g := item.group; {
		case g == nil:
			w.log.mu.Lock()
			d := w.log.mu.dropped[item.dropped]
			d.at = item.to
			w.log.mu.dropped[item.dropped] = d
			w.log.mu.Unlock()
		case item.index != 0:
			g.mu.Lock()
			g.locations[item.index-g.first] = item.to
			g.mu.Unlock()
		case item.key != "":
			g.mu.Lock()
			g.stable[item.key] = stableValue{value: g.stable[item.key].value, at: item.to}
			g.mu.Unlock()
		default:
			g.created = item.to
		}
		w.forget(from)
		w.need(item.to)
	}
}

// checkLimit looks who pins the log: after a rotation, and after somebody cut something.
func (w *writer) checkLimit(requests []*request) {
	l := w.log
	list := l.segments.list
	excess := len(list) - int(l.opts.MaxBytes/l.opts.SegmentBytes)
	if excess <= 0 {
		l.pin.Store(nil)
		return
	}
	due := w.checked != w.segment.sequence
	for _, r := range requests {
		due = due || r.op == opDelete
	}
	if !due {
		return
	}
	w.checked = w.segment.sequence
	worst := l.worstOf(list[:min(excess+1, len(list)-1)]) // one more, because the next is near
	l.pin.Store(worst)                                    // nil: the next rotation, or what is carried, suffices
	if worst != nil {
		l.opts.OnFull()
	}
}

// worstOf finds the group with the most bytes of entries in the oldest of some segments that has
// more than is carried out of it anyway, and how far its entries reach in all of them.
func (l *Log) worstOf(list []*segment) *Pin {
	for _, s := range list {
		if !l.tooMuch(s) {
			continue
		}
		var worst *Pin
		var of *group
		pins := make(map[*group]*Pin)
		for _, item := range l.itemsOf(s.sequence) {
			if item.index == 0 {
				continue
			}
			p := pins[item.group]
			if p == nil {
				p = &Pin{Group: item.group.key.group, Incarnation: item.group.key.incarnation}
				pins[item.group] = p
			}
			at, _ := item.group.locationLocked(item.index)
			p.Bytes += recordBytes(int(at.length))
			if worst == nil || p.Bytes > worst.Bytes {
				worst, of = p, item.group
			}
		}
		if worst == nil {
			continue
		}
		for n, at := range of.locations {
			if at.segment <= list[len(list)-1].sequence {
				worst.Through = of.first + uint64(n)
			}
		}
		return worst
	}
	return nil
}
