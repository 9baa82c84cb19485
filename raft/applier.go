package raft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
)

// applier feeds a StateMachine from hashicorp/raft: it is the library's BatchingFSM. It keeps
// its own applied index, because the library's means "handed over", and skips what the machine
// holds already, because the library starts again from the durable state (R3).
type applier struct {
	machine StateMachine
	fail    func(error)
	failed  func() bool
	// dropPassed deletes what a snapshot has made worthless of the log.
	dropPassed func() error
	passages   *passages

	// applied is written by the library's state machine goroutine and read by anyone.
	applied   atomic.Uint64
	installed atomic.Uint64 // snapshots
	// newest is the membership of the last entry applied that sets one, written before applied is.
	newest atomic.Pointer[Configuration]

	// mu is a leaf.
	mu      sync.Mutex
	waiters map[*appliedWaiter]struct{}
}

type appliedWaiter struct {
	index uint64
	done  chan struct{}
}

// refused is the result of an entry that was not applied because the group had failed.
type refused struct{}

func newApplier(machine StateMachine, log *guardedLog, fail func(error), failed func() bool) *applier {
	a := &applier{machine: machine, fail: fail, failed: failed, dropPassed: log.dropPassed, passages: &log.passages, waiters: make(map[*appliedWaiter]struct{})}
	state := machine.Durable()
	a.newest.Store(&state.Configuration)
	a.applied.Store(uint64(state.Index))
	return a
}

// members is the membership as of what is applied.
func (a *applier) members() Configuration { return *a.newest.Load() }

// ApplyBatch implements hraft.BatchingFSM.
func (a *applier) ApplyBatch(logs []*hraft.Log) []any {
	results := make([]any, len(logs))
	if a.failed() {
		return refuseAll(results)
	}
	entries, skipped, err := a.entries(logs)
	if err == nil && len(entries) > 0 {
		a.passages.passed(logs[len(logs)-1].Index, applyingAt)
		var applied []any
		applied, err = a.machine.Apply(entries)
		if err == nil && len(applied) != len(entries) {
			err = fmt.Errorf("state machine gave %d results for %d entries", len(applied), len(entries))
		}
		copy(results[skipped:], applied)
	}
	if err != nil {
		a.fail(fmt.Errorf("apply entries %d to %d: %w", logs[0].Index, logs[len(logs)-1].Index, err))
		return refuseAll(results)
	}
	if len(entries) > 0 {
		for _, e := range entries {
			if e.Configuration != nil {
				a.newest.Store(e.Configuration)
			}
		}
		a.passages.passed(logs[len(logs)-1].Index, appliedAt)
		a.advance(logs[len(logs)-1].Index)
	}
	return results
}

func refuseAll(results []any) []any {
	for i := range results {
		results[i] = refused{}
	}
	return results
}

// entries converts what the machine does not hold yet; skipped is how many it does.
func (a *applier) entries(logs []*hraft.Log) (entries []Entry, skipped int, err error) {
	applied := a.applied.Load()
	for skipped < len(logs) && logs[skipped].Index <= applied {
		skipped++
	}
	entries = make([]Entry, 0, len(logs)-skipped)
	for _, l := range logs[skipped:] {
		e, err := entryOf(l)
		if err != nil {
			return nil, 0, err
		}
		entries = append(entries, e)
	}
	return entries, skipped, nil
}

// entryOf converts an entry of the log.
func entryOf(l *hraft.Log) (Entry, error) {
	e := Entry{Index: api.Index(l.Index), Term: api.Term(l.Term)}
	if l.Type != hraft.LogConfiguration {
		e.Data = l.Data
		return e, nil
	}
	c, err := configurationFromLibrary(l.Index, hraft.DecodeConfiguration(l.Data))
	if err != nil {
		return Entry{}, err
	}
	e.Configuration = &c
	return e, nil
}

// advance publishes the applied index and wakes those who wait for it.
func (a *applier) advance(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.applied.Store(index)
	for w := range a.waiters {
		if w.index <= index {
			close(w.done)
			delete(a.waiters, w)
		}
	}
}

// wait returns when index is applied, ctx ends or stop is closed.
func (a *applier) wait(ctx context.Context, index uint64, stop <-chan struct{}) error {
	if a.applied.Load() >= index {
		return nil
	}
	w := &appliedWaiter{index: index, done: make(chan struct{})}
	a.mu.Lock()
	if a.applied.Load() >= index {
		a.mu.Unlock()
		return nil
	}
	a.waiters[w] = struct{}{}
	a.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	case <-stop:
	}
	a.mu.Lock()
	delete(a.waiters, w)
	a.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return api.Errorf(api.CodeExpired, "wait for entry %d to be applied: %w", index, err)
	}
	return api.Errorf(api.CodeShuttingDown, "the group is closed")
}

// Apply implements hraft.FSM; the library calls ApplyBatch instead.
func (a *applier) Apply(l *hraft.Log) any { return a.ApplyBatch([]*hraft.Log{l})[0] }

var errGroupFailed = errors.New("the group's storage failed")

// Snapshot implements hraft.FSM.
func (a *applier) Snapshot() (hraft.FSMSnapshot, error) {
	if a.failed() {
		return nil, errGroupFailed
	}
	installed := a.installed.Load()
	return &localSnapshot{
		machine: a.machine, applied: api.Index(a.applied.Load()), fail: a.fail,
		overtaken: func() bool { return a.installed.Load() != installed },
	}, nil
}

// Restore implements hraft.FSM: it installs a snapshot that was received.
func (a *applier) Restore(source io.ReadCloser) error {
	if a.failed() {
		return errGroupFailed
	}
	if w, ok := source.(interface{ WrappedReadCloser() io.ReadCloser }); ok {
		source = w.WrappedReadCloser()
	}
	r, ok := source.(*receivedSnapshot)
	if !ok {
		return fmt.Errorf("restore from a %T", source)
	}
	if uint64(r.state.Index) < a.applied.Load() {
		return errSnapshotOld
	}
	if err := a.machine.Install(r.dir); err != nil {
		return fmt.Errorf("install snapshot at index %d: %w", r.state.Index, err)
	}
	if got := a.machine.Durable(); got.Index != r.state.Index || got.Term != r.state.Term {
		err := fmt.Errorf("installed a snapshot at index %d of term %d, the state machine holds %d of term %d",
			r.state.Index, r.state.Term, got.Index, got.Term)
		a.fail(err)
		return err
	}
	// The library waits on its main loop, so that nobody adds to the log meanwhile. It goes on to remember where
	// the log ended, which is why the guarded log knows of cuts of what is not there.
	if err := a.dropPassed(); err != nil {
		err = fmt.Errorf("drop the log below the snapshot at index %d: %w", r.state.Index, err)
		a.fail(err) // the machine has the snapshot, and the library would go on without it
		return err
	}
	a.installed.Add(1)
	a.newest.Store(&r.state.Configuration)
	a.advance(uint64(r.state.Index))
	return nil
}
