package raft

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"time"
)

// reclaimEvery is how often the logs' bytes are looked at: at 100 MB/s a log grows by less than its tail.
const reclaimEvery = 500 * time.Millisecond

// reclaimLoop keeps a storage that all groups share within its limit. A group whose log has grown much makes
// its state durable and cuts it. If the storage is full all the same, the group whose entries pin the oldest
// part does, and keeps nothing but what pins allow. Followers that lack what was cut get
// a snapshot.
func (h *Host) reclaimLoop(s BoundedStorage) {
	ticker := time.NewTicker(reclaimEvery)
	defer ticker.Stop()
	var groups []*Group
	for {
		select {
		case <-s.Full():
			h.reclaim(s)
		case <-ticker.C:
			groups = h.appendGroups(groups[:0])
			for _, g := range groups {
				g.logCut("by bytes", g.cutLarge())
			}
			clear(groups)
		case <-h.stop:
			return
		}
	}
}

func (h *Host) reclaim(s BoundedStorage) {
	id, through, ok := s.Pinned()
	if !ok {
		return
	}
	h.mu.Lock()
	g := h.mu.groups[id]
	h.mu.Unlock()
	if g == nil {
		return // it is being started or stopped; the next call comes with the next segment
	}
	if lost := g.log.losePins(s.Excess()); lost > 0 {
		g.logger.Warn("the log is full: followers that lag, or that a snapshot is on its way to, need another one", "count", lost)
	}
	g.logCut("because the storage is full", g.release(through))
}

func (g *Group) logCut(why string, err error) {
	if err == nil || errors.Is(err, fs.ErrClosed) || g.unwell() != nil {
		return
	}
	g.logger.Warn("raft log not cut "+why, "error", err)
}

// release cuts the log up to index through, or as far as the state machine can make durable.
func (g *Group) release(through uint64) error {
	// The library takes what is before its last snapshot for gone, and nothing else, even if the
	// state machine holds more.
	snapshot, err := g.snapshotIndex()
	if err == nil && snapshot < through {
		if err = g.Snapshot(); err == nil {
			snapshot, err = g.snapshotIndex()
		}
	}
	if err != nil {
		return err
	}
	first, err := g.store.FirstIndex()
	if err != nil {
		return err
	}
	last, err := g.store.LastIndex()
	if err != nil {
		return err
	}
	// The last entry stays, because the library may look for it.
	end := min(through, snapshot, max(last, 1)-1)
	if first == 0 || end < first {
		return nil
	}
	return g.log.cut(first, end)
}

func (g *Group) snapshotIndex() (uint64, error) {
	index, err := strconv.ParseUint(g.current.Load().raft.Stats()["last_snapshot_index"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the index of the last snapshot: %w", err)
	}
	return index, nil
}

// What stays of a log behind a cut is for followers that were away for a moment: they get entries, those that
// lack more get a snapshot. It is bounded by entries, by the bytes of one log, and by those of all logs of
// the node together, because all of them may be behind at once and share one storage.

// sizedLog is a LogStore that knows the bytes of its entries.
type sizedLog interface {
	// EntryBytes are those of all entries on disk.
	EntryBytes() int64
	// TailStart is the lowest index from which on the entries take no more than so many bytes, beyond the
	// last if that is none.
	TailStart(bytes int64) uint64
}

// maxNodeTailBytes is half of what the shared log holds by default, so that tails alone never fill it.
const maxNodeTailBytes = 256 << 20

// tail says what of a log stays behind a cut. The zero tail is nothing.
type tail struct {
	entries uint64
	bytes   func() int64 // nil for any
}

// before is the last index that may be cut of a log that ends at last.
func (t *tail) before(store LogStore, last uint64) uint64 {
	if t.entries == 0 {
		return math.MaxUint64
	}
	end := last - min(last, t.entries)
	if sized, ok := store.(sizedLog); ok && t.bytes != nil {
		end = max(end, max(sized.TailStart(t.bytes()), 1)-1)
	}
	return end
}

// tailBytes is what one group may keep: its own limit, or a fair share of the node's.
func (h *Host) tailBytes() int64 {
	h.mu.Lock()
	groups := int64(max(len(h.mu.groups), 1))
	h.mu.Unlock()
	return min(h.opts.Timing.TrailingBytes, maxNodeTailBytes/groups)
}

// cutLarge flushes and cuts when the log has grown by as much as it may keep since it was cut last, whatever
// the number of entries. Only reclaimLoop calls it.
func (g *Group) cutLarge() error {
	sized, ok := g.store.(sizedLog)
	if !ok {
		return nil
	}
	now := sized.EntryBytes()
	g.bytesKept = min(g.bytesKept, now)
	if now-g.bytesKept < g.host.tailBytes() {
		return nil
	}
	err := g.Snapshot()
	g.bytesKept = sized.EntryBytes()
	return err
}
