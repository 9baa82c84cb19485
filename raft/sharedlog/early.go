package sharedlog

import (
	"math"

	hraft "github.com/hashicorp/raft"
)

// Early writes. StoreEarly queues entries and returns before they are durable. Readers see them at
// once, in memory; the writer moves them to where all others are when they are durable, and tells. Only
// appends may be early, so that what is not durable is always the end of a replica's log, and every
// other write of a replica is durable after those that were queued before it (LG7).

// maxEarlyBytes bounds what is queued and not durable, of all groups together: what one sync of a slow disk
// takes with it. Beyond it StoreEarly waits like StoreLogs.
const maxEarlyBytes = 16 << 20

// StoreEarly stores entries as StoreLogs does. If early is true, they are not durable yet: Durable says
// when they are, and so is who OnDurable names. Neither the slice nor the entries may change afterwards.
func (v *View) StoreEarly(entries []*hraft.Log) (early bool, err error) {
	if len(entries) == 0 {
		return false, nil
	}
	if v.closed.Load() {
		return false, errClosed
	}
	if err := v.log.checkEntries(entries); err != nil {
		return false, err
	}
	if early, err = v.log.queueEarly(v.group, entries); early || err != nil {
		return early, err
	}
	return false, v.StoreLogs(entries)
}

// Durable is the index up to which everything that is stored is durable, the highest of all when
// nothing waits.
func (v *View) Durable() uint64 {
	g := v.group
	g.mu.RLock()
	defer g.mu.RUnlock()
	if len(g.early) == 0 {
		return math.MaxUint64
	}
	return g.early[0].Index - 1
}

// OnDurable names who is told, after each sync with early entries of this replica, up to where they
// are durable, or why they never will be. f runs on the goroutine of the writer: it must not block, and
// must not write to the log. It is not called any more when Close has returned.
func (v *View) OnDurable(f func(through uint64, err error)) {
	v.group.mu.Lock()
	defer v.group.mu.Unlock()
	v.group.onDurable = f
}

// queueEarly queues entries that nobody will wait for; false if they must be waited for.
func (l *Log) queueEarly(g *group, entries []*hraft.Log) (bool, error) {
	size := 0
	for _, e := range entries {
		size += int(recordBytes(len(e.Data)))
	}
	l.mu.Lock()
	if err := l.unwellLocked(); err != nil {
		l.mu.Unlock()
		return false, err
	}
	if l.mu.earlyBytes > 0 && l.mu.earlyBytes+size > maxEarlyBytes || !g.addEarly(entries) {
		l.mu.Unlock()
		return false, nil
	}
	l.mu.earlyBytes += size
	_, first := l.queueLocked(request{op: opStore, group: g, entries: entries, early: size})
	l.mu.Unlock()
	if first {
		l.wakeWriter()
	}
	return true, nil
}

// addEarly shows entries to readers if they follow the last one.
func (g *group) addEarly(entries []*hraft.Log) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if have := g.heldLocked(); !have.empty() && entries[0].Index != have.last+1 {
		return false
	}
	for _, e := range entries {
		g.early = append(g.early, *e)
	}
	return true
}

// earlyLocked copies an entry that is not durable.
func (g *group) earlyLocked(index uint64, out *hraft.Log) bool {
	if len(g.early) == 0 || index < g.early[0].Index || index-g.early[0].Index >= uint64(len(g.early)) {
		return false
	}
	*out = g.early[index-g.early[0].Index]
	return true
}

// settleLocked forgets the n oldest early entries, which are where all others are.
func (g *group) settleLocked(n int) {
	rest := copy(g.early, g.early[n:])
	clear(g.early[rest:]) // the data must not stay with the array
	g.early = g.early[:rest]
}

// tell lets the groups of early requests know what came of them.
func (w *writer) tell(requests []*request) {
	for i, r := range requests {
		if r.early == 0 || i+1 < len(requests) && requests[i+1].early > 0 && requests[i+1].group == r.group {
			continue // the next one says it
		}
		r.group.mu.RLock()
		f := r.group.onDurable
		r.group.mu.RUnlock()
		if f != nil {
			f(r.entries[len(r.entries)-1].Index, r.err)
		}
	}
}

// endEarly ends a request that nobody waits for.
func (l *Log) endEarly(r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.earlyBytes -= r.early
	l.recycleLocked(r)
}
