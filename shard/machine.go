package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/shard/directory"
)

// Machine is the state of one replica: it implements raft.StateMachine over an engine. Apply and
// Install are called from one goroutine at a time; everything else is safe for concurrent use.
type Machine struct {
	// Set by openMachine, never written again.
	id      api.ShardID
	store   *directory.Store
	logger  *slog.Logger
	fs      vfs.FS
	dir     string
	digests digests

	// What a split needs; set by Open before anything is applied. Without splitter no child is made here.
	replica  raft.ReplicaID
	splitter Splitter
	found    func(raft.GroupID, uint64, raft.State, func() error) (bool, error)
	// split are the children of the splits that the run holds. Owned by whoever calls Apply.
	split []api.ShardID

	// run is what Apply works with, kept for its memory; nil after a failure or an installation.
	// Owned by whoever calls Apply and Install.
	run *run

	// applied is the state after the last batch, as the engine holds it. Written by Apply and
	// Install; what it points to is never changed.
	applied atomic.Pointer[state]
}

var _ raft.StateMachine = (*Machine)(nil)

func openMachine(o Options) (*Machine, error) {
	settings := o.Engine
	settings.FS, settings.Logger, settings.OnFailure, settings.RetainVersions = o.FS, o.Logger, o.OnFailure, true
	m := &Machine{id: o.ID, logger: o.Logger, fs: o.FS, dir: o.Dir}
	var loaded state
	s, err := directory.Open(o.FS, o.Dir, settings, o.Logger, func(db *engine.DB, members *directory.Members) (err error) {
		loaded, err = m.load(db, members)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open shard %d: %w", o.ID, err)
	}
	m.store = s
	m.publish(&loaded)
	return m, nil
}

// publish makes a state that was loaded the current one.
func (m *Machine) publish(loaded *state) {
	m.applied.Store(loaded)
	m.digests.reset(digestAt{api.Index(loaded.position.Index), loaded.digest})
}

// load reads the rows that Machine keeps in memory, and refuses an engine that is another
// shard's or whose rows do not fit its position.
func (m *Machine) load(db *engine.DB, members *directory.Members) (state, error) {
	raw, ok, err := db.Get(stateRowKey, engine.MaxVersion)
	if err != nil {
		return state{}, fmt.Errorf("read state row: %w", err)
	}
	if ok != (db.Applied() != engine.Position{}) {
		return state{}, fmt.Errorf("engine at index %d: state row present is %t: %w", db.Applied().Index, ok, engine.ErrCorrupt)
	}
	if !ok {
		return state{}, nil
	}
	s, err := decodeState(raw.Value)
	if err != nil {
		return state{}, err
	}
	s.position = db.Applied()
	if s.configured && s.shard != m.id {
		return state{}, fmt.Errorf("the directory holds shard %d, not shard %d", s.shard, m.id)
	}
	raw, ok, err = db.Get(configurationKey(), engine.MaxVersion)
	if err != nil || !ok {
		return s, err
	}
	c, err := raft.UnmarshalConfiguration(raw.Value)
	if err != nil {
		return state{}, fmt.Errorf("read membership row: %w", err)
	}
	members.Add(c)
	return s, nil
}

// state is the state after the last applied batch. Callers must not change it.
func (m *Machine) state() *state { return m.applied.Load() }

// Apply implements raft.StateMachine. The results are of type *Applied.
func (m *Machine) Apply(entries []raft.Entry) ([]any, error) {
	h, err := m.store.Acquire()
	if err != nil {
		return nil, err
	}
	defer h.Release()
	r := m.run
	if m.run = nil; r == nil || r.handle != h {
		r = newRun(h)
	}
	r.state = *m.state()
	results := make([]any, len(entries))
	last := h.DB.Applied().Index
	for i := range entries {
		e := &entries[i]
		if uint64(e.Index) <= last {
			return nil, fmt.Errorf("apply to shard %d: entry %d comes after entry %d", m.id, e.Index, last)
		}
		last = uint64(e.Index)
		if r.full() {
			if err := m.commit(r); err != nil {
				return nil, err
			}
		}
		applied, err := m.apply(r, e)
		if err != nil {
			return nil, fmt.Errorf("apply entry %d of term %d to shard %d: %w", e.Index, e.Term, m.id, err)
		}
		results[i] = applied
	}
	if err := m.commit(r); err != nil {
		return nil, err
	}
	m.run = r
	return results, nil
}

// commit commits a run and then publishes what it made of the state.
func (m *Machine) commit(r *run) error {
	if r.position != (engine.Position{}) {
		r.state.position = r.position
	}
	if err := r.commit(); err != nil {
		return fmt.Errorf("shard %d: %w", m.id, err)
	}
	s := r.state
	m.applied.Store(&s)
	m.digests.add(r.digests)
	r.digests = r.digests[:0]
	for _, child := range m.split {
		if m.splitter != nil {
			m.splitter.OnSplit(child)
		}
	}
	m.split = m.split[:0]
	return nil
}

// voters are those of the newest membership that was applied.
func (m *Machine) voters() []raft.ReplicaID {
	h, err := m.store.Acquire()
	if err != nil {
		return nil
	}
	defer h.Release()
	var voters []raft.ReplicaID
	for _, s := range h.Members.At(h.DB.Applied()).Configuration.Servers {
		if s.Voter {
			voters = append(voters, s.Replica)
		}
	}
	return voters
}

// Durable implements raft.StateMachine.
func (m *Machine) Durable() raft.State {
	h, err := m.store.Acquire()
	if err != nil {
		return raft.State{}
	}
	defer h.Release()
	return h.Members.Durable(h.DB.Durable)
}

// Flush implements raft.StateMachine.
func (m *Machine) Flush() error {
	h, err := m.store.Acquire()
	if err != nil {
		return err
	}
	defer h.Release()
	if err := h.DB.Flush(); err != nil {
		return fmt.Errorf("flush shard %d: %w", m.id, err)
	}
	return nil
}

// Checkpoint implements raft.StateMachine. Everything that it links is read and checked before, so that
// a damaged block is not sent to a replica that may hold the last whole copy.
func (m *Machine) Checkpoint(dir string) (raft.State, error) {
	h, err := m.store.Acquire()
	if err != nil {
		return raft.State{}, err
	}
	defer h.Release()
	if err := h.DB.Verify(context.Background()); err != nil {
		return raft.State{}, fmt.Errorf("checkpoint shard %d: %w", m.id, err)
	}
	defer h.Members.Pin()()
	p, err := h.DB.Checkpoint(dir)
	if err != nil {
		return raft.State{}, fmt.Errorf("checkpoint shard %d: %w", m.id, err)
	}
	return h.Members.At(p), nil
}

// Install implements raft.StateMachine. Reads that hold the old engine finish on it.
func (m *Machine) Install(dir string) error {
	var loaded state
	m.run = nil
	err := m.store.Install(dir, func(db *engine.DB, members *directory.Members) (err error) {
		if db.Applied() == (engine.Position{}) {
			return errors.New("the checkpoint is empty")
		}
		loaded, err = m.load(db, members)
		return err
	})
	if err != nil {
		return fmt.Errorf("install checkpoint into shard %d: %w", m.id, err)
	}
	m.publish(&loaded)
	m.logger.Info("checkpoint installed", "shard", uint64(m.id), "shard_time", loaded.last.String())
	return nil
}

// metrics are the engine's figures, false once it is closed.
func (m *Machine) metrics() (engine.Metrics, bool) {
	h, err := m.store.Acquire()
	if err != nil {
		return engine.Metrics{}, false
	}
	defer h.Release()
	return h.DB.Metrics(), true
}

// diskBytes is the size of the engine's tables, 0 once it is closed.
func (m *Machine) diskBytes() uint64 {
	metrics, _ := m.metrics()
	return metrics.Bytes()
}

// close waits for readers and closes the engine.
func (m *Machine) close() error { return m.store.Close() }
