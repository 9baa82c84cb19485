package sharedlog

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/seededbug"
)

// View is the log of one replica within the shared log; package raft's LogStore says what it
// promises. Safe for concurrent use by many readers, and by writers whose order does not matter
// to them.
type View struct {
	// Set by Log.View, never written again.
	log   *Log
	group *group

	closed atomic.Bool

	// mu is a leaf.
	mu sync.Mutex
	// stagedVoteTerm is the term of the vote whose candidate is still to come. Guarded by mu.
	stagedVoteTerm uint64
}

// The keys that hashicorp/raft uses, and the record that holds the last two together.
const (
	keyLastVoteTerm = "LastVoteTerm"
	keyLastVoteCand = "LastVoteCand"
	keyVote         = "Vote"
)

// maxStableBytes bounds a key and its value together, so that they fit in any segment.
const maxStableBytes = 2 << 10

// View opens the log of a replica, creating an empty one if there is none. It must be closed
// before it is opened again. Damage that concerns the replica is a *DamageError.
func (l *Log) View(groupID, incarnation uint64) (*View, error) {
	k := key{groupID, incarnation}
	g, created, err := l.take(k)
	if err != nil {
		return nil, fmt.Errorf("open raft log %s: %w", k, err)
	}
	if created {
		if err := l.do(request{op: opCreate, group: g}); err != nil {
			l.mu.Lock()
			delete(l.mu.groups, k)
			l.mu.Unlock()
			return nil, fmt.Errorf("create raft log %s: %w", k, err)
		}
	}
	return &View{log: l, group: g}, nil
}

// take marks the group as open, making it if there is none.
func (l *Log) take(k key) (g *group, created bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.unwellLocked(); err != nil {
		return nil, false, err
	}
	if d, ok := l.mu.dropped[k.group]; ok && k.incarnation <= d.incarnation {
		return nil, false, ErrDropped
	}
	g = l.mu.groups[k]
	if g == nil {
		g = newGroup(k)
		g.open = true
		l.mu.groups[k] = g
		return g, true, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.open:
		return nil, false, fmt.Errorf("it is open already")
	case g.damage != nil:
		return nil, false, g.damage
	}
	g.open = true
	return g, false, nil
}

// FirstIndex implements hraft.LogStore.
func (v *View) FirstIndex() (uint64, error) {
	v.group.mu.RLock()
	defer v.group.mu.RUnlock()
	return v.group.heldLocked().first, nil
}

// LastIndex implements hraft.LogStore.
func (v *View) LastIndex() (uint64, error) {
	v.group.mu.RLock()
	defer v.group.mu.RUnlock()
	return v.group.heldLocked().last, nil
}

// EntryBytes is what the entries take on disk.
func (v *View) EntryBytes() int64 {
	v.group.mu.RLock()
	defer v.group.mu.RUnlock()
	return v.group.bytes
}

// TailStart is the lowest index from which on the entries take no more than so many bytes, beyond the last
// if that is none.
func (v *View) TailStart(bytes int64) uint64 {
	g := v.group
	g.mu.RLock()
	defer g.mu.RUnlock()
	at := len(g.locations)
	for at > 0 {
		if bytes -= recordBytes(int(g.locations[at-1].length)); bytes < 0 {
			break
		}
		at--
	}
	return g.first + uint64(at)
}

// GetLog implements hraft.LogStore. The entry's data is shared: nobody may change it.
func (v *View) GetLog(index uint64, out *hraft.Log) error {
	for {
		at, cached, ok := v.group.look(index, out)
		if cached {
			return nil
		}
		if !ok {
			return hraft.ErrLogNotFound
		}
		if v.closed.Load() {
			return errClosed
		}
		err := v.log.readInto(v.group.key, index, at, out)
		if err == nil {
			return nil
		}
		// The entry may have been deleted, or carried to another segment, and its file used again.
		if now, _, _ := v.group.look(index, nil); now == at {
			return fmt.Errorf("read entry %d of raft log %s: %w", index, v.group.key, err)
		}
	}
}

// look finds an entry in memory, if out is not nil, or else on disk.
func (g *group) look(index uint64, out *hraft.Log) (at location, cached, ok bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if out != nil && (g.earlyLocked(index, out) || g.cachedLocked(index, out)) {
		return location{}, true, true
	}
	at, ok = g.locationLocked(index)
	return at, false, ok
}

func (l *Log) readInto(k key, index uint64, at location, out *hraft.Log) error {
	s := l.find(at.segment)
	if s == nil {
		return &DamageError{File: l.opts.Dir, Reason: "segment", Expected: fmt.Sprintf("sequence %d", at.segment), Found: "none"}
	}
	r, err := s.readEntry(k, index, at)
	if err != nil {
		return err
	}
	*out = hraft.Log{Index: r.index, Term: r.term, Type: hraft.LogType(r.entryType), Data: r.payload}
	return nil
}

// readEntry reads an entry and checks that it is the one.
func (s *segment) readEntry(k key, index uint64, at location) (*record, error) {
	r, err := s.readRecord(at)
	if err != nil {
		return nil, err
	}
	if r.kind != kindEntry || r.group != k.group || r.incarnation != k.incarnation || r.index != index || r.term != at.term {
		return nil, &DamageError{File: s.name, Offset: int64(at.offset), Reason: "record",
			Expected: fmt.Sprintf("entry %d of term %d of %s", index, at.term, k),
			Found:    fmt.Sprintf("kind %d, index %d of term %d of %s", r.kind, r.index, r.term, key{r.group, r.incarnation})}
	}
	return r, nil
}

// StoreLog implements hraft.LogStore.
func (v *View) StoreLog(e *hraft.Log) error { return v.StoreLogs([]*hraft.Log{e}) }

// StoreLogs implements hraft.LogStore. The entries' data must not change afterwards.
func (v *View) StoreLogs(entries []*hraft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	return v.do(request{op: opStore, entries: entries})
}

// DeleteRange implements hraft.LogStore. The range must touch an end of the log.
func (v *View) DeleteRange(start, end uint64) error {
	return v.do(request{op: opDelete, start: start, end: end})
}

func (v *View) do(r request) error {
	if v.closed.Load() {
		return errClosed
	}
	r.group = v.group
	return v.log.do(r)
}

// Set implements hraft.StableStore. The candidate completes the vote whose term SetUint64
// staged: both become durable in one record, or neither.
func (v *View) Set(key, value []byte) error {
	if string(key) != keyLastVoteCand {
		return v.set(string(key), slices.Clone(value))
	}
	v.mu.Lock()
	term := v.stagedVoteTerm
	v.mu.Unlock()
	return v.set(keyVote, append(binary.LittleEndian.AppendUint64(nil, term), value...))
}

// SetUint64 implements hraft.StableStore.
func (v *View) SetUint64(key []byte, value uint64) error {
	if string(key) == keyLastVoteTerm {
		v.mu.Lock()
		v.stagedVoteTerm = value
		v.mu.Unlock()
		if seededbug.Enabled(seededbug.VoteInTwoRecords) {
			return v.splitVote(value)
		}
		return nil
	}
	return v.set(string(key), binary.LittleEndian.AppendUint64(nil, value))
}

// splitVote is a seeded bug: the term of a vote becomes durable before its candidate.
func (v *View) splitVote(term uint64) error {
	_, candidate, err := v.vote()
	if err != nil {
		return nil
	}
	return v.set(keyVote, append(binary.LittleEndian.AppendUint64(nil, term), candidate...))
}

func (v *View) set(key string, value []byte) error {
	if key == "" || len(key)+len(value) > maxStableBytes {
		return fmt.Errorf("set a key of %d bytes to %d bytes: at most %d together, and a key", len(key), len(value), maxStableBytes)
	}
	return v.do(request{op: opSet, key: key, value: value})
}

// Get implements hraft.StableStore.
func (v *View) Get(key []byte) ([]byte, error) {
	if string(key) == keyLastVoteCand {
		_, candidate, err := v.vote()
		return candidate, err
	}
	return v.get(string(key))
}

// GetUint64 implements hraft.StableStore.
func (v *View) GetUint64(key []byte) (uint64, error) {
	if string(key) == keyLastVoteTerm {
		term, _, err := v.vote()
		return term, err
	}
	b, err := v.get(string(key))
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("the value of %s has %d bytes, a number has 8", key, len(b))
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (v *View) vote() (term uint64, candidate []byte, err error) {
	b, err := v.get(keyVote)
	if err != nil {
		return 0, nil, err
	}
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("the vote has %d bytes, a term has 8", len(b))
	}
	return binary.LittleEndian.Uint64(b), b[8:], nil
}

func (v *View) get(key string) ([]byte, error) {
	if v.closed.Load() {
		return nil, errClosed
	}
	v.group.mu.RLock()
	defer v.group.mu.RUnlock()
	s, ok := v.group.stable[key]
	if !ok {
		return nil, errKeyNotFound
	}
	return slices.Clone(s.value), nil
}

// Close waits for what is stored and lets the replica's log be opened again. A second call does nothing.
func (v *View) Close() error {
	if v.closed.Swap(true) {
		return nil
	}
	g := v.group
	if v.Durable() != math.MaxUint64 {
		_ = v.log.do(request{op: opWait, group: g}) // who fails is told of it
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open, g.onDurable = false, nil
	return nil
}

var _ interface {
	hraft.LogStore
	hraft.StableStore
} = (*View)(nil)
