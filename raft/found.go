package raft

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// The birth of a replica that has something to begin with.
//
// The groups that a cluster is made with begin with an empty state and a log of one entry. A group that is split off
// another one begins with a part of that one's state on each of its first members, and with an empty log behind it:
// as if every one of them had put the same snapshot in place. So a replica that has not got that state can only
// get it from another one, as a snapshot. Until then it votes if nothing of it was lost, and is not elected (R19).

// Found gives a replica a state to begin with: install puts it in place, durably or not at all. state is what it
// holds, with the members of the group; all members that are founded hold the same. A replica that runs, that has a
// log, or that was discarded is left alone, and founded is false. The term is raised to the state's and never
// lowered, so that a vote of earlier is kept. It may be repeated after a crash, until install has been done.
func (h *Host) Found(id GroupID, incarnation uint64, state State, install func() error) (founded bool, err error) {
	if dropped, err := h.opts.Storage.Dropped(id, incarnation); dropped || err != nil {
		return false, err
	}
	// A host that is being closed still waits for its groups, one of which calls.
	h.mu.Lock()
	reserved := h.reserveLocked(id)
	h.mu.Unlock()
	if !reserved {
		return false, nil
	}
	defer h.unreserve(id)
	return FoundStopped(h.opts.Storage, id, incarnation, state, install)
}

// found raises the term before the state is there: a state without its term is a replica that has lost its votes.
func found(store LogStore, state State, install func() error) (bool, error) {
	last, err := store.LastIndex()
	if err != nil || last > 0 {
		return false, err
	}
	term, err := store.GetUint64([]byte(keyCurrentTerm))
	if err != nil && !isKeyNotFound(err) {
		return false, fmt.Errorf("read the term: %w", err)
	}
	if term < uint64(state.Term) || seededbug.Enabled(seededbug.RaftFoundResetsTerm) {
		if err := store.SetUint64([]byte(keyCurrentTerm), uint64(state.Term)); err != nil {
			return false, fmt.Errorf("raise the term: %w", err)
		}
	}
	return true, install()
}

// Node is the node of this host.
func (h *Host) Node() api.NodeID { return h.opts.Node }
