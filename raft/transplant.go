package raft

import (
	"errors"
	"fmt"
	"io"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Giving a replica another state machine.
//
// A replica whose state machine is not to be trusted still has its log, its term and its votes, which are:
// they are what the others count on. So the state alone is replaced, by a checkpoint of another replica,
// and what follows it in the log is applied again, as after a crash that lost what was not durable.
// The log must reach that far back, and the term must not be behind the state's: it is raised, which
// binds the replica to no candidate.

// SendCheckpoint writes the checkpoint in dir, which holds state, for a CheckpointReceiver.
func SendCheckpoint(w io.Writer, fsys vfs.FS, dir string, state State) error {
	source, err := newSnapshotSource(fsys, dir, state)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(w, source, make([]byte, checkpointPartBytes))
	return errors.Join(err, source.closeFile())
}

// checkpointPartBytes is what SendCheckpoint writes at once.
const checkpointPartBytes = 1 << 20

// CheckpointReceiver is an io.Writer that makes a directory of what SendCheckpoint wrote and verifies it.
type CheckpointReceiver struct {
	*snapshotWriter
	accept func(State) error // nil once it was called
}

// ReceiveCheckpoint makes dir, which must not exist. It calls accept as soon as it knows what the checkpoint
// holds, and receives no more of one that is not accepted.
func ReceiveCheckpoint(fsys vfs.FS, dir string, accept func(State) error) (*CheckpointReceiver, error) {
	w, err := newSnapshotWriter(fsys, dir)
	return &CheckpointReceiver{snapshotWriter: w, accept: accept}, err
}

// Write implements io.Writer.
func (r *CheckpointReceiver) Write(p []byte) (int, error) {
	n, err := r.snapshotWriter.Write(p)
	if err != nil || r.header == nil || r.accept == nil {
		return n, err
	}
	accept := r.accept
	r.accept = nil
	return n, accept(r.header.state)
}

// Finish makes the directory durable, or fails if the checkpoint is not complete.
func (r *CheckpointReceiver) Finish() error { return r.finish() }

// Abandon removes the directory.
func (r *CheckpointReceiver) Abandon() error { return r.abandon() }

// Transplant calls install, which gives a replica that does not run another state of the same group. It
// refuses a state that the replica's log does not continue. held is where the state ends that is replaced.
func (h *Host) Transplant(id GroupID, incarnation uint64, state State, held api.Index, install func() error) error {
	if err := h.reserve(id); err != nil {
		return err
	}
	defer h.unreserve(id)
	store, err := h.opts.Storage.Open(id, incarnation)
	if err != nil {
		return fmt.Errorf("transplant group %s: %w", id, err)
	}
	if err = joinable(store, state, held); err == nil {
		err = install()
	}
	if err = errors.Join(err, store.Close()); err != nil {
		return fmt.Errorf("transplant group %s: %w", id, err)
	}
	return nil
}

// joinable makes sure that a log continues a state, and that both together have all that the replica has acknowledged:
// what a log had below a snapshot was dropped with it (R17), and is in the state only.
func joinable(store LogStore, state State, held api.Index) error {
	first, err := store.FirstIndex()
	if err != nil {
		return err
	}
	last, err := store.LastIndex()
	if err != nil {
		return err
	}
	if last > uint64(state.Index) && first > uint64(state.Index)+1 {
		return fmt.Errorf("the log begins at entry %d, the state ends at %d", first, state.Index)
	}
	if state.Index < held && last < uint64(held) {
		return fmt.Errorf("the log ends at entry %d, the state at %d, and the replica had reached %d: it has to wait for a later state", last, state.Index, held)
	}
	term, err := store.GetUint64([]byte(keyCurrentTerm))
	if err != nil {
		return fmt.Errorf("read the term: %w", err)
	}
	if term < uint64(state.Term) {
		return store.SetUint64([]byte(keyCurrentTerm), uint64(state.Term))
	}
	return nil
}
