package raft

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
)

// reclaimLoop keeps a storage that all groups share within its limit: the group whose entries pin
// the oldest part makes its state durable and cuts them, whatever it would have liked to keep for
// followers that are behind. Those get a snapshot.
func (h *Host) reclaimLoop(s BoundedStorage) {
	for {
		select {
		case <-s.Full():
		case <-h.stop:
			return
		}
		id, through, ok := s.Pinned()
		if !ok {
			continue
		}
		h.mu.Lock()
		g := h.mu.groups[id]
		h.mu.Unlock()
		if g == nil {
			continue // it is being started or stopped; the next call comes with the next segment
		}
		if err := g.release(through); err != nil && !errors.Is(err, fs.ErrClosed) {
			h.opts.Logger.Warn("raft log not cut", "group", g.id, "through", through, "error", err)
		}
	}
}

// release cuts the log up to index through, or as far as the state machine can make durable.
func (g *Group) release(through uint64) error {
	g.current.Load().lookAtCatchUps(0, true)
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
	return g.log.DeleteRange(first, end)
}

func (g *Group) snapshotIndex() (uint64, error) {
	index, err := strconv.ParseUint(g.current.Load().raft.Stats()["last_snapshot_index"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the index of the last snapshot: %w", err)
	}
	return index, nil
}
