package sharedlog

import (
	"errors"
	"fmt"
	"slices"
)

// replay rebuilds the state from the records, in the order of the log. Each record says by itself
// what it changes, so it does not matter that the records of segments that were given free are
// missing: what they held is either gone, or was carried to a later segment.
type replay struct {
	groups  map[key]*replayedGroup
	dropped map[uint64]droppedReplica
	oldest  uint32
	tail    scan // of the last segment
}

type replayedGroup struct {
	// runs hold the entries. They are in the order of their indexes only at the end.
	runs    []run
	last    int // the run that was used last
	damaged map[uint64]damagedEntry
	stable  map[string]stableValue
	created location
	// damage is what cannot be said to concern one entry.
	damage []damagedEntry
}

// run is a range of entries.
type run struct {
	first uint64
	at    []location
}

// damagedEntry is why the record at a location must not be needed.
type damagedEntry struct {
	at  location
	err error
}

func newReplay() *replay {
	return &replay{groups: make(map[key]*replayedGroup), dropped: make(map[uint64]droppedReplica)}
}

func (r *replay) group(k key) *replayedGroup {
	g := r.groups[k]
	if g == nil {
		g = &replayedGroup{stable: make(map[string]stableValue), damaged: make(map[uint64]damagedEntry)}
		r.groups[k] = g
	}
	return g
}

// record repeats one record, whose payload is damaged if problem says so. An error is damage that
// concerns everybody.
func (r *replay) record(s *segment, offset int64, h *header, problem error) error {
	at := location{segment: s.sequence, offset: uint32(offset), length: h.length, term: h.term}
	k := key{h.group, h.incarnation}
	switch h.kind {
	case kindEntry:
		r.group(k).set(h.index, at, problem)
	case kindCutSuffix:
		r.group(k).cut(func(have span) span { return have.cutSuffix(h.index) })
	case kindCutPrefix:
		r.group(k).cut(func(have span) span { return have.cutPrefix(h.index) })
	case kindStable:
		r.group(k).setStable(s, at, h, problem)
	case kindCreate:
		r.group(k).created = at
	case kindDrop:
		delete(r.groups, k)
		if d, ok := r.dropped[k.group]; !ok || d.incarnation <= k.incarnation {
			r.dropped[k.group] = droppedReplica{k.incarnation, at}
		}
	case kindOldest:
		r.oldest = max(r.oldest, uint32(h.index))
	case kindEnd:
	default:
		return &DamageError{File: s.name, Offset: offset, Reason: "kind", Expected: fmt.Sprintf("below %d", kindCount), Found: fmt.Sprint(h.kind)}
	}
	return nil
}

func (g *replayedGroup) setStable(s *segment, at location, h *header, problem error) {
	name, value, ok := splitStable(h.payload)
	if problem == nil && !ok {
		problem = &DamageError{File: s.name, Offset: int64(at.offset), Reason: "stable value", Expected: "a key and a value", Found: fmt.Sprintf("%d bytes", len(h.payload))}
	}
	if problem != nil {
		g.damage = append(g.damage, damagedEntry{at, problem})
		return
	}
	g.stable[name] = stableValue{value: slices.Clone(value), at: at}
}

// set puts an entry where it belongs: behind a run, in place of one, or into a run of its own.
func (g *replayedGroup) set(index uint64, at location, problem error) {
	delete(g.damaged, index)
	if problem != nil {
		g.damaged[index] = damagedEntry{at, problem}
	}
	fits := func(i int) bool {
		if i >= len(g.runs) {
			return false
		}
		r := &g.runs[i]
		switch {
		case index < r.first || index-r.first > uint64(len(r.at)):
			return false
		case index-r.first == uint64(len(r.at)):
			r.at = append(r.at, at)
		default:
			r.at[index-r.first] = at
		}
		g.last = i
		return true
	}
	// An index that is in a run must not be appended to another.
	for i := range g.runs {
		if r := &g.runs[i]; index >= r.first && index-r.first < uint64(len(r.at)) {
			fits(i)
			return
		}
	}
	if fits(g.last) {
		return
	}
	for i := range g.runs {
		if fits(i) {
			return
		}
	}
	g.runs = append(g.runs, run{index, []location{at}})
	g.last = len(g.runs) - 1
}

// cut keeps of each run what keep says.
func (g *replayedGroup) cut(keep func(span) span) {
	rest := g.runs[:0]
	for _, r := range g.runs {
		have := span{r.first, r.first + uint64(len(r.at)) - 1}
		left := keep(have)
		if left.empty() {
			continue
		}
		rest = append(rest, run{left.first, r.at[left.first-have.first : left.last-have.first+1]})
	}
	clear(g.runs[len(rest):])
	g.runs, g.last = rest, 0
}

// forget drops what is in segments that are not needed any more: they may still be there, whole
// or in part, and everything in them that counts was carried forward.
func (g *replayedGroup) forget(oldest uint32) {
	var rest []run
	for _, r := range g.runs {
		for i, at := range r.at {
			if at.segment < oldest {
				continue
			}
			index := r.first + uint64(i)
			if n := len(rest) - 1; n >= 0 && rest[n].first+uint64(len(rest[n].at)) == index {
				rest[n].at = append(rest[n].at, at)
			} else {
				rest = append(rest, run{index, []location{at}})
			}
		}
	}
	g.runs = rest
	for k, v := range g.stable {
		if v.at.segment < oldest {
			delete(g.stable, k)
		}
	}
	if g.created.segment < oldest {
		g.created = location{}
	}
	g.damage = slices.DeleteFunc(g.damage, func(d damagedEntry) bool { return d.at.segment < oldest })
}

// finish hands the state over to the log.
func (r *replay) finish(l *Log) {
	w := &writer{log: l}
	for id, d := range r.dropped {
		if d.at.segment >= l.oldest {
			l.mu.dropped[id] = d
			w.need(d.at)
		}
	}
	for k, from := range r.groups {
		from.forget(l.oldest)
		if len(from.runs) == 0 && len(from.stable) == 0 && len(from.damage) == 0 && from.created.segment == 0 {
			continue
		}
		g := from.group(k)
		l.mu.groups[k] = g
		w.need(g.locations...)
		for _, v := range g.stable {
			w.need(v.at)
		}
		if g.created.segment != 0 {
			w.need(g.created)
		}
		w.need(g.evidence...)
	}
}

// group makes the group, and finds out whether it may be used.
func (g *replayedGroup) group(k key) *group {
	out := newGroup(k)
	out.stable, out.created = g.stable, g.created
	var problems []error
	for _, d := range g.damage {
		problems = append(problems, d.err)
		out.evidence = append(out.evidence, d.at)
	}
	if g.created.segment == 0 {
		problems = append(problems, &DamageError{File: k.String(), Reason: "replica", Expected: "a record that creates it", Found: "none"})
	}
	slices.SortFunc(g.runs, func(a, b run) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	for _, r := range g.runs {
		if next := out.spanLocked().last + 1; len(out.locations) > 0 && r.first != next {
			problems = append(problems, &DamageError{File: k.String(), Reason: "entries", Expected: fmt.Sprintf("index %d", next), Found: fmt.Sprint(r.first)})
			out.evidence = append(out.evidence, r.at...)
			continue
		}
		if len(out.locations) == 0 {
			out.first = r.first
		}
		out.locations = append(out.locations, r.at...)
	}
	for index, d := range g.damaged {
		if at, ok := out.locationLocked(index); ok && at == d.at {
			problems = append(problems, d.err)
		}
	}
	out.next, out.bytes = out.spanLocked(), recordsBytes(out.locations)
	out.damage = errors.Join(problems...)
	return out
}
