package meta

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	pb "github.com/lightning-db/lightning/api/lightningv1"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/sealed"
	"github.com/lightning-db/lightning/raft"
)

// stateFile is the one file of the machine's directory and of a checkpoint.
const stateFile = "state"

// Machine is the cluster map as a replicated state machine, in memory and in one file. It
// implements raft.StateMachine; the rest is safe for concurrent use.
type Machine struct {
	// Set by OpenMachine, never written again.
	fsys vfs.FS
	dir  string

	// Written by Apply and Install, which Raft calls from one goroutine; loaded by anyone.
	now atomic.Pointer[snapshot]

	// disk is held while the state file is written, so that it never goes back (M3). A leaf.
	disk struct {
		sync.Mutex
		durable atomic.Pointer[raft.State] // loaded without the lock
		failure error                      // sticky
	}
}

// snapshot is the machine at one moment. Immutable: state is shared with readers.
type snapshot struct {
	state    *peerv1.MetaState
	position raft.State
	// newer is closed when a snapshot with another revision has taken this one's place. Snapshots
	// of equal revision share it.
	newer chan struct{}
}

// OpenMachine reads the state in dir, which is made if it is missing.
func OpenMachine(fsys vfs.FS, dir string) (*Machine, error) {
	m := &Machine{fsys: fsys, dir: dir}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make directory %s: %w", dir, err)
	}
	state, position, err := readState(fsys, dir)
	if err != nil {
		return nil, err
	}
	m.publish(state, position)
	m.disk.durable.Store(&position)
	return m, nil
}

// readState reads dir/state; without a file the state is empty.
func readState(fsys vfs.FS, dir string) (*peerv1.MetaState, raft.State, error) {
	state := &peerv1.MetaState{}
	found, err := sealed.Read(fsys, dir, stateFile, sealed.MetaState, state)
	if err != nil {
		return nil, raft.State{}, err
	}
	if state.Map == nil {
		state.Map = &pb.ClusterMap{}
	}
	position := raft.State{Index: api.Index(state.Index), Term: api.Term(state.Term)}
	if found && len(state.Configuration) > 0 {
		if position.Configuration, err = raft.UnmarshalConfiguration(state.Configuration); err != nil {
			return nil, raft.State{}, &sealed.CorruptError{File: dir + "/" + stateFile, Reason: err.Error()}
		}
	}
	return state, position, nil
}

func (m *Machine) publish(state *peerv1.MetaState, position raft.State) {
	next := &snapshot{state: state, position: position, newer: make(chan struct{})}
	old := m.now.Load()
	same := old != nil && old.state.Map.Revision == state.Map.Revision
	if same {
		next.newer = old.newer
	}
	m.now.Store(next)
	if old != nil && !same {
		close(old.newer)
	}
}

// Apply implements raft.StateMachine. Results are *peerv1.MetaResult, nil for a membership change.
func (m *Machine) Apply(entries []raft.Entry) ([]any, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	old := m.now.Load()
	state, position := proto.CloneOf(old.state), old.position
	results := make([]any, len(entries))
	for i, e := range entries {
		if e.Index <= position.Index {
			return nil, fmt.Errorf("apply meta entry %d after entry %d: entries come once and in order (M1)", e.Index, position.Index)
		}
		position.Index, position.Term = e.Index, e.Term
		switch {
		case e.Configuration != nil:
			position.Configuration = *e.Configuration
			setMetaReplicas(state, *e.Configuration)
		case len(e.Data) > 0:
			c, err := decodeCommand(e.Data)
			if err != nil {
				return nil, fmt.Errorf("apply meta entry %d: %w", e.Index, err)
			}
			results[i] = evaluate(state, c)
		}
	}
	state.Index, state.Term = uint64(position.Index), uint64(position.Term)
	state.Configuration = position.Configuration.Marshal()
	m.publish(state, position)
	return results, nil
}

// Durable implements raft.StateMachine.
func (m *Machine) Durable() raft.State { return *m.disk.durable.Load() }

// Flush implements raft.StateMachine.
func (m *Machine) Flush() error {
	m.disk.Lock()
	defer m.disk.Unlock()
	if m.disk.failure != nil {
		return m.disk.failure
	}
	now := m.now.Load()
	if now.position.Index == m.disk.durable.Load().Index {
		return nil
	}
	return m.writeLocked(now)
}

func (m *Machine) writeLocked(s *snapshot) error {
	if err := sealed.Write(m.fsys, m.dir, stateFile, sealed.MetaState, s.state); err != nil {
		m.disk.failure = api.Errorf(api.CodeStoreFailed, "flush the cluster map: %w", err)
		return m.disk.failure
	}
	m.disk.durable.Store(&s.position)
	return nil
}

// Checkpoint implements raft.StateMachine.
func (m *Machine) Checkpoint(dir string) (raft.State, error) {
	if _, err := m.fsys.List(dir); !vfs.IsNotExist(err) {
		return raft.State{}, fmt.Errorf("checkpoint the cluster map into %s: it exists already (%v)", dir, err)
	}
	if err := m.fsys.MkdirAll(dir); err != nil {
		return raft.State{}, fmt.Errorf("checkpoint the cluster map: %w", err)
	}
	now := m.now.Load()
	if err := sealed.Write(m.fsys, dir, stateFile, sealed.MetaState, now.state); err != nil {
		return raft.State{}, fmt.Errorf("checkpoint the cluster map: %w", err)
	}
	return now.position, nil
}

// Install implements raft.StateMachine. The state file's rename is the switch: before it the old
// state is there, after it the new one.
func (m *Machine) Install(dir string) error {
	state, position, err := readState(m.fsys, dir)
	if err != nil {
		return fmt.Errorf("install the cluster map: %w", err)
	}
	if position.Index == 0 {
		return fmt.Errorf("install the cluster map: %s holds no checkpoint", dir)
	}
	m.disk.Lock()
	defer m.disk.Unlock()
	if m.disk.failure != nil {
		return m.disk.failure
	}
	if err := m.writeLocked(&snapshot{state: state, position: position}); err != nil {
		return err
	}
	m.publish(state, position)
	_ = m.fsys.RemoveAll(dir) // what is left is cleared at the next start; the install is done
	return nil
}

// Map is the cluster map as applied; nil before the cluster is initialised. Callers must not
// change it.
func (m *Machine) Map() *pb.ClusterMap { return m.now.Load().visible() }

func (s *snapshot) visible() *pb.ClusterMap {
	if s.state.Map.ClusterId == "" {
		return nil
	}
	return s.state.Map
}

// changed returns a channel that is closed once Map is another one than seen.
func (m *Machine) changed(seen *pb.ClusterMap) <-chan struct{} {
	now := m.now.Load()
	if now.visible().GetRevision() != seen.GetRevision() {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return now.newer
}

// Wait returns a map whose revision is above after, when there is one.
func (m *Machine) Wait(ctx context.Context, after uint64) (*pb.ClusterMap, error) {
	for {
		now := m.now.Load()
		if c := now.visible(); c.GetRevision() > after {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-now.newer:
		}
	}
}
