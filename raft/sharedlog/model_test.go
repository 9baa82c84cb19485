package sharedlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
)

// state is what the contract of LogStore says that a replica holds.
type state struct {
	first   uint64 // meaningless when there are no entries
	entries []hraft.Log
	stable  map[string]string
}

func (s state) clone() state {
	c := state{first: s.first, entries: slices.Clone(s.entries), stable: make(map[string]string)}
	for k, v := range s.stable {
		c.stable[k] = v
	}
	return c
}

func (s *state) last() uint64 { return s.first + uint64(len(s.entries)) - 1 }

func (s *state) store(entries ...*hraft.Log) {
	for _, e := range entries {
		switch {
		case len(s.entries) == 0 || e.Index < s.first || e.Index > s.last()+1:
			s.first, s.entries = e.Index, nil
		default:
			s.entries = s.entries[:e.Index-s.first]
		}
		s.entries = append(slices.Clip(s.entries), *e)
	}
}

func (s *state) delete(start, end uint64) bool {
	if len(s.entries) == 0 || start > s.last() || end < s.first {
		return true
	}
	start, end = max(start, s.first), min(end, s.last())
	switch {
	case start == s.first:
		s.entries = s.entries[end-s.first+1:]
		s.first = end + 1
	case end == s.last():
		s.entries = s.entries[:start-s.first]
	default:
		return false
	}
	return true
}

func (s state) String() string {
	var b bytes.Buffer
	for _, e := range s.entries {
		fmt.Fprintf(&b, "%d@%d:%d:%x ", e.Index, e.Term, e.Type, e.Data)
	}
	keys := make([]string, 0, len(s.stable))
	for k := range s.stable {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(&b, "%s=%x ", k, s.stable[k])
	}
	return b.String()
}

// stableKeys are those that the model uses.
var stableKeys = []string{"CurrentTerm", keyLastVoteTerm, keyLastVoteCand, "other"}

// observe reads everything that a view holds.
func observe(v *View) (state, error) {
	s := state{stable: make(map[string]string)}
	first, err := v.FirstIndex()
	last, err2 := v.LastIndex()
	if err := errors.Join(err, err2); err != nil {
		return s, err
	}
	s.first = first
	for i := first; i <= last && last != 0; i++ {
		var e hraft.Log
		if err := v.GetLog(i, &e); err != nil {
			return s, fmt.Errorf("entry %d of %d to %d: %w", i, first, last, err)
		}
		s.entries = append(s.entries, e)
	}
	for _, missing := range []uint64{0, first - 1, last + 1} {
		if err := v.GetLog(missing, new(hraft.Log)); (missing < first || missing > last) && err != hraft.ErrLogNotFound {
			return s, fmt.Errorf("entry %d of %d to %d: %v, want exactly ErrLogNotFound", missing, first, last, err)
		}
	}
	for _, k := range stableKeys {
		if k == keyLastVoteTerm {
			term, err := v.GetUint64([]byte(k))
			if err == nil {
				s.stable[k] = fmt.Sprint(term)
			} else if err.Error() != "not found" {
				return s, err
			}
			continue
		}
		b, err := v.Get([]byte(k))
		if err == nil {
			s.stable[k] = string(b)
		} else if err.Error() != "not found" {
			return s, err
		}
	}
	return s, nil
}

// replicaModel follows one replica: what was acknowledged, and what a crash may leave of the
// write that is on its way.
type replicaModel struct {
	key  key
	rand *rand.Rand
	term uint64
	// early has half of the appends return before they are durable.
	early bool

	mu       sync.Mutex
	held     state   // what readers see
	possible []state // after the write on its way, in whole or in part
	undone   []state // what a crash may leave besides, because what readers see is not durable
}

func newReplicaModel(k key, r *rand.Rand) *replicaModel {
	return &replicaModel{key: k, rand: r, held: state{stable: make(map[string]string)}}
}

// matches reports whether a crash now may leave s.
func (m *replicaModel) matches(s state) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := s.String()
	if got == m.held.String() {
		return true
	}
	same := func(p state) bool { return p.String() == got }
	return slices.ContainsFunc(m.possible, same) || slices.ContainsFunc(m.undone, same)
}

func (m *replicaModel) try(write func() error, outcomes ...state) error {
	m.mu.Lock()
	m.possible = outcomes
	m.mu.Unlock()
	err := write()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held, m.possible, m.undone = outcomes[len(outcomes)-1], nil, nil
	return nil
}

// tryEarly makes a write that may return before it is durable.
func (m *replicaModel) tryEarly(write func() (bool, error), outcomes ...state) error {
	m.mu.Lock()
	m.possible = outcomes
	m.mu.Unlock()
	early, err := write()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if early {
		m.undone = append(append(m.undone, m.held), outcomes...)
	} else {
		m.undone = nil
	}
	m.held, m.possible = outcomes[len(outcomes)-1], nil
	return nil
}

// onDurable is told that a crash leaves the entries up to through.
func (m *replicaModel) onDurable(through uint64, err error) {
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.undone = slices.DeleteFunc(m.undone, func(s state) bool { return len(s.entries) == 0 || s.last() < through })
}

// step makes one random write.
func (m *replicaModel) step(v *View, maxData int) error {
	r := m.rand
	switch n := r.IntN(20); {
	case n < 11:
		return m.append(v, maxData)
	case n < 14:
		return m.cut(v)
	case n < 17:
		return m.vote(v)
	default:
		m.term++
		next := m.held.clone()
		value := bytes.Repeat([]byte{byte(m.term)}, r.IntN(20)+1)
		k := []string{"CurrentTerm", "other"}[r.IntN(2)]
		next.stable[k] = string(value)
		return m.try(func() error { return v.Set([]byte(k), value) }, next)
	}
}

func (m *replicaModel) append(v *View, maxData int) error {
	r := m.rand
	first := uint64(1)
	if len(m.held.entries) > 0 {
		first = m.held.last() + 1
		switch r.IntN(12) {
		case 0: // replaces the end, or everything
			first -= min(first-1, uint64(r.IntN(len(m.held.entries)+2)))
			m.term++
		case 1: // leaves a gap
			first += uint64(r.IntN(5))
		}
	}
	var entries []*hraft.Log
	var outcomes []state
	for i := range uint64(r.IntN(5) + 1) {
		data := make([]byte, r.IntN(maxData))
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		entries = append(entries, &hraft.Log{Index: first + i, Term: m.term, Type: hraft.LogType(r.IntN(3)), Data: data})
	}
	// What goes may be gone before anything is added.
	cut := m.held.clone()
	switch {
	case len(cut.entries) == 0:
	case first > cut.last()+1 || first <= cut.first:
		cut.entries = nil
	default:
		cut.entries = cut.entries[:first-cut.first]
	}
	outcomes = append(outcomes, cut)
	for i := range entries {
		next := cut.clone()
		next.store(entries[:i+1]...)
		outcomes = append(outcomes, next)
	}
	if m.early && r.IntN(2) == 0 {
		return m.tryEarly(func() (bool, error) { return v.StoreEarly(entries) }, outcomes...)
	}
	return m.try(func() error { return v.StoreLogs(entries) }, outcomes...)
}

func (m *replicaModel) cut(v *View) error {
	if len(m.held.entries) == 0 {
		return nil
	}
	r, next := m.rand, m.held.clone()
	start, end := m.held.first, m.held.first+uint64(r.IntN(len(m.held.entries)))
	if r.IntN(3) == 0 {
		start, end = end, m.held.last()+uint64(r.IntN(2))
	}
	next.delete(start, end)
	return m.try(func() error { return v.DeleteRange(start, end) }, next)
}

// vote writes a vote as the library does, in two calls.
func (m *replicaModel) vote(v *View) error {
	m.term++
	next := m.held.clone()
	candidate := fmt.Sprintf("n%d#1", m.rand.IntN(100))
	next.stable[keyLastVoteTerm], next.stable[keyLastVoteCand] = fmt.Sprint(m.term), candidate
	return m.try(func() error {
		if err := v.SetUint64([]byte(keyLastVoteTerm), m.term); err != nil {
			return err
		}
		return v.Set([]byte(keyLastVoteCand), []byte(candidate))
	}, next)
}

// smallOptions make many segments out of little.
func smallOptions(fsys vfs.FS, seed int64) Options {
	return Options{Dir: "log", FS: fsys, Entropy: entropy.From(&lockedReader{source: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})}),
		SegmentBytes: 8 << 10, CacheBytes: 2 << 10, MaxBytes: 64 << 10}
}

type lockedReader struct {
	mu     sync.Mutex
	source *rand.ChaCha8
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.source.Read(p)
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustView(t testing.TB, l *Log, k key) *View {
	t.Helper()
	v, err := l.View(k.group, k.incarnation)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// check opens the log on a disk and compares every replica with its model; adopt makes what was
// found the model's state.
func check(o Options, models []*replicaModel, adopt bool) (err error) {
	l, err := Open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	for _, m := range models {
		v, err := l.View(m.key.group, m.key.incarnation)
		if err != nil {
			return err
		}
		found, err := observe(v)
		if err != nil {
			return fmt.Errorf("replica %s: %w", m.key, err)
		}
		if !m.matches(found) {
			return fmt.Errorf("replica %s holds\n%v\nacknowledged was\n%v\npossible are %d others", m.key, found, m.held, len(m.possible)+len(m.undone))
		}
		if adopt {
			m.mu.Lock()
			m.held, m.possible, m.undone = found, nil, nil
			m.mu.Unlock()
		}
	}
	return nil
}
