package raft

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/lightning-db/lightning/internal/vfs"
)

// testMachine is a map from text to text that is kept in memory and written to one file by
// Flush. Its commands are "key=value"; its results are the number of entries applied so far.
type testMachine struct {
	fs  vfs.FS
	dir string

	mu      sync.Mutex
	now     testState
	durable State
	fail    error                 // of the next Apply
	onApply func(entries []Entry) // called before applying, without the lock
	onFlush func()                // called before flushing, without the lock
}

type testState struct {
	State  State
	Values map[string]string
	Count  int
}

const testStateFile = "state"

func openTestMachine(fsys vfs.FS, dir string) (*testMachine, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, err
	}
	m := &testMachine{fs: fsys, dir: dir, now: testState{Values: make(map[string]string)}}
	b, err := vfs.ReadFile(fsys, dir+"/"+testStateFile)
	if vfs.IsNotExist(err) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	return m, m.load(b)
}

func (m *testMachine) load(b []byte) error {
	s := testState{}
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	m.now, m.durable = s, s.State
	return nil
}

func (m *testMachine) Apply(entries []Entry) ([]any, error) {
	m.mu.Lock()
	onApply := m.onApply
	m.mu.Unlock()
	if onApply != nil {
		onApply(entries)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	results := make([]any, len(entries))
	for i, e := range entries {
		if e.Index <= m.now.State.Index {
			return nil, fmt.Errorf("entry %d after %d", e.Index, m.now.State.Index)
		}
		m.now.State.Index, m.now.State.Term = e.Index, e.Term
		if e.Configuration != nil {
			m.now.State.Configuration = *e.Configuration
			continue
		}
		key, value, _ := strings.Cut(string(e.Data), "=")
		m.now.Values[key] = value
		m.now.Count++
		results[i] = m.now.Count
	}
	return results, nil
}

func (m *testMachine) get(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.Values[key]
}

func (m *testMachine) Durable() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.durable
}

func (m *testMachine) encode() (State, []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := json.Marshal(m.now)
	if err != nil {
		panic(err)
	}
	return m.now.State, b
}

func (m *testMachine) Flush() error {
	m.mu.Lock()
	onFlush := m.onFlush
	m.mu.Unlock()
	if onFlush != nil {
		onFlush()
	}
	state, b := m.encode()
	if err := vfs.WriteFileAtomic(m.fs, m.dir, testStateFile, b); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if state.Index > m.durable.Index {
		m.durable = state
	}
	return nil
}

func (m *testMachine) Checkpoint(dir string) (State, error) {
	state, b := m.encode()
	if err := m.fs.MkdirAll(dir); err != nil {
		return State{}, err
	}
	// A second and a third file, one of them empty, so that streams have more than one part.
	for name, data := range map[string][]byte{testStateFile: b, "empty": nil, "padding": make([]byte, 3<<20)} {
		f, err := m.fs.Create(dir + "/" + name)
		if err != nil {
			return State{}, err
		}
		_, err = f.Write(data)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return State{}, err
		}
	}
	return state, m.fs.SyncDir(dir)
}

func (m *testMachine) Install(dir string) error {
	b, err := vfs.ReadFile(m.fs, dir+"/"+testStateFile)
	if err != nil {
		return err
	}
	if err := vfs.WriteFileAtomic(m.fs, m.dir, testStateFile, b); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(m.load(b), m.fs.RemoveAll(dir))
}
