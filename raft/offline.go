package raft

import (
	"errors"
	"fmt"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
)

// What can be done with the log of a replica whose node is stopped: see package recovery.

// StoppedLog is the log of a replica that does not run. Nothing of it is changed.
type StoppedLog struct {
	store LogStore
	// state is what the replica's state machine holds durably.
	state State
	// CurrentTerm is the newest term that the replica has heard of, 0 for none.
	CurrentTerm api.Term
	// Last and LastTerm are those of the last entry that the replica has, in its log or its state.
	Last     api.Index
	LastTerm api.Term
}

// OpenStopped opens the log of a replica whose state machine holds state. It must be closed.
func OpenStopped(storage Storage, id GroupID, incarnation uint64, state State) (*StoppedLog, error) {
	store, err := storage.Open(id, incarnation)
	if err != nil {
		return nil, fmt.Errorf("open the log of group %s: %w", id, err)
	}
	l := &StoppedLog{store: store, state: state, Last: state.Index, LastTerm: state.Term}
	if err := l.look(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the log of group %s: %w", id, err), store.Close())
	}
	return l, nil
}

// look finds where the log ends. What a start of the replica would delete is not counted: a log that
// ends below the state, and one that conflicts with it (see Group.prepare).
func (l *StoppedLog) look() error {
	term, err := l.store.GetUint64([]byte(keyCurrentTerm))
	if err != nil && !isKeyNotFound(err) {
		return err
	}
	l.CurrentTerm = api.Term(term)
	first, err := l.store.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.store.LastIndex()
	if err != nil {
		return err
	}
	if term < uint64(l.state.Term) {
		return fmt.Errorf("it was lost or replaced: it knows term %d, the state is of term %d", term, l.state.Term)
	}
	if last <= uint64(l.state.Index) {
		return nil
	}
	if first > uint64(l.state.Index)+1 {
		return fmt.Errorf("it begins at entry %d, and the state ends at %d", first, l.state.Index)
	}
	if conflict, err := conflicts(l.store, uint64(l.state.Index), uint64(l.state.Term)); conflict || err != nil {
		return err
	}
	var e hraft.Log
	if err := l.store.GetLog(last, &e); err != nil {
		return err
	}
	l.Last, l.LastTerm = api.Index(e.Index), api.Term(e.Term)
	return nil
}

// stoppedBatchBytes is about what Entries hands out at once.
const stoppedBatchBytes = 4 << 20

// Entries hands out all entries behind the state, up to Last, in order and in batches. They are committed by whoever says so.
func (l *StoppedLog) Entries(use func([]Entry) error) error {
	var batch []Entry
	bytes := 0
	for index := l.state.Index + 1; index <= l.Last; index++ {
		var stored hraft.Log
		if err := l.store.GetLog(uint64(index), &stored); err != nil {
			return fmt.Errorf("read entry %d: %w", index, err)
		}
		// What the library keeps to itself is of other types.
		if stored.Type == hraft.LogCommand || stored.Type == hraft.LogConfiguration {
			e, err := entryOf(&stored)
			if err != nil {
				return err
			}
			batch, bytes = append(batch, e), bytes+len(e.Data)
		}
		if bytes < stoppedBatchBytes && index < l.Last || len(batch) == 0 {
			continue
		}
		if err := use(batch); err != nil {
			return err
		}
		batch, bytes = nil, 0
	}
	return nil
}

// Close closes the log.
func (l *StoppedLog) Close() error { return l.store.Close() }

// FoundStopped is Host.Found for a node that is stopped.
func FoundStopped(storage Storage, id GroupID, incarnation uint64, state State, install func() error) (founded bool, err error) {
	store, err := storage.Open(id, incarnation)
	if err != nil {
		return false, fmt.Errorf("found group %s: %w", id, err)
	}
	founded, err = found(store, state, install)
	if err = errors.Join(err, store.Close()); err != nil {
		return false, fmt.Errorf("found group %s: %w", id, err)
	}
	return founded, nil
}
