package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"sync"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/raft/sharedlog"
)

// storage is raft.NodeStorage, but the log of the meta group is a logStore instead of a bbolt file,
// which would be a real one.
type storage struct {
	fs     vfs.FS
	dir    string
	shared *sharedlog.Log
	full   chan struct{} // capacity 1
}

func newStorage(fs vfs.FS, dir string, random entropy.Source, segmentBytes int64) (*storage, error) {
	s := &storage{fs: fs, dir: dir, full: make(chan struct{}, 1)}
	if err := fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	var err error
	s.shared, err = sharedlog.Open(sharedlog.Options{
		Dir: dir + "/log", FS: fs, Entropy: random, SegmentBytes: segmentBytes, CacheBytes: 1 << 20, MaxBytes: 8 * segmentBytes,
		OnFull: func() { wake(s.full) },
	})
	return s, err
}

// Close implements raft.Storage.
func (s *storage) Close() error { return s.shared.Close() }

// Drop implements raft.Storage. The members of the meta group do not change in the simulation.
func (s *storage) Drop(g raft.GroupID, incarnation uint64) error {
	if g == raft.MetaGroup {
		return errors.New("the log of the meta group is not dropped")
	}
	return s.shared.Drop(uint64(g), incarnation)
}

// Dropped implements raft.Storage.
func (s *storage) Dropped(g raft.GroupID, incarnation uint64) (bool, error) {
	return g != raft.MetaGroup && s.shared.Dropped(uint64(g), incarnation), nil
}

// Full implements raft.BoundedStorage.
func (s *storage) Full() <-chan struct{} { return s.full }

// Pinned implements raft.BoundedStorage.
func (s *storage) Pinned() (raft.GroupID, uint64, bool) {
	p, ok := s.shared.Pinned()
	return raft.GroupID(p.Group), p.Through, ok
}

// Open implements raft.Storage.
func (s *storage) Open(g raft.GroupID, incarnation uint64) (raft.LogStore, error) {
	if g != raft.MetaGroup {
		return s.shared.View(uint64(g), incarnation)
	}
	l := &logStore{turn: make(chan struct{}, 1)}
	l.mu.values = map[string][]byte{}
	name := fmt.Sprintf("%s-%d.log", g, incarnation)
	data, err := vfs.ReadFile(s.fs, s.dir+"/"+name)
	if err != nil && !vfs.IsNotExist(err) {
		return nil, err
	}
	for len(data) > 0 {
		record, rest, ok := nextRecord(data)
		if !ok {
			break // torn: it was not durable when the crash came
		}
		l.replay(record)
		data = rest
	}
	if l.file, err = s.fs.Create(s.dir + "/" + name + ".new"); err != nil {
		return nil, err
	}
	if err := l.write(l.everything()...); err != nil {
		return nil, err
	}
	if err := s.fs.Rename(s.dir+"/"+name+".new", s.dir+"/"+name); err != nil {
		return nil, err
	}
	return l, s.fs.SyncDir(s.dir)
}

// logStore is the log of one replica: a file to which changes are appended, and all of it in memory besides.
type logStore struct {
	// turn is held by the writer. It is a channel, because only waiting on a channel lets the time of a
	// bubble go on, and a sync takes time.
	turn chan struct{}

	// Owned by who has the turn.
	file     vfs.File
	failed   error
	voteTerm []byte // written with the candidate: a vote is one record

	// mu is a leaf; nobody waits while it is held.
	mu struct {
		sync.RWMutex
		first  uint64
		logs   []*hraft.Log
		values map[string][]byte
	}
}

func (l *logStore) enter() func() {
	l.turn <- struct{}{}
	return func() { <-l.turn }
}

func (l *logStore) look() func() {
	l.mu.RLock()
	return l.mu.RUnlock
}

// A record is its length, its checksum, its kind and its body.
const (
	recordHeaderBytes = 8
	kindEntry         = 1
	kindKeep          = 2 // entries [first, last] are kept
	kindValue         = 3
	kindVote          = 4
)

func record(kind byte, body []byte) []byte {
	r := make([]byte, recordHeaderBytes, recordHeaderBytes+1+len(body))
	r = append(append(r, kind), body...)
	binary.LittleEndian.PutUint32(r, uint32(len(r)-recordHeaderBytes))
	binary.LittleEndian.PutUint32(r[4:], crc32.ChecksumIEEE(r[recordHeaderBytes:]))
	return r
}

func nextRecord(data []byte) (body, rest []byte, ok bool) {
	if len(data) < recordHeaderBytes {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint32(data))
	if n < 1 || n > len(data)-recordHeaderBytes {
		return nil, nil, false
	}
	body, rest = data[recordHeaderBytes:recordHeaderBytes+n], data[recordHeaderBytes+n:]
	return body, rest, crc32.ChecksumIEEE(body) == binary.LittleEndian.Uint32(data[4:])
}

func entryRecord(e *hraft.Log) []byte {
	b := binary.LittleEndian.AppendUint64(nil, e.Index)
	b = binary.LittleEndian.AppendUint64(b, e.Term)
	b = append(b, byte(e.Type))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.Data)))
	b = append(append(b, e.Data...), e.Extensions...)
	return record(kindEntry, b)
}

func keepRecord(first, last uint64) []byte {
	return record(kindKeep, binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, first), last))
}

func valueRecord(key string, value []byte) []byte {
	return record(kindValue, append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(key))), key...), value...))
}

func (l *logStore) everything() [][]byte {
	records := [][]byte{}
	for k, v := range l.mu.values {
		records = append(records, valueRecord(k, v))
	}
	for _, e := range l.mu.logs {
		records = append(records, entryRecord(e))
	}
	return records
}

func (l *logStore) replay(r []byte) {
	kind, b := r[0], r[1:]
	switch kind {
	case kindEntry:
		n := binary.LittleEndian.Uint32(b[17:])
		e := &hraft.Log{Index: binary.LittleEndian.Uint64(b), Term: binary.LittleEndian.Uint64(b[8:]), Type: hraft.LogType(b[16]),
			Data: b[21 : 21+n : 21+n], Extensions: b[21+n:]}
		l.put(e)
	case kindKeep:
		l.keep(binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]))
	case kindValue:
		n := binary.LittleEndian.Uint32(b)
		l.mu.values[string(b[4:4+n])] = b[4+n:]
	case kindVote:
		l.mu.values[keyVoteTerm], l.mu.values[keyVoteCandidate] = b[:8], b[8:]
	}
}

func (l *logStore) last() uint64 { return l.mu.first + uint64(len(l.mu.logs)) - 1 }

// put replaces the suffix from e on, or everything if e is beyond the next index.
func (l *logStore) put(e *hraft.Log) {
	if len(l.mu.logs) == 0 || e.Index > l.last()+1 || e.Index < l.mu.first {
		l.mu.first, l.mu.logs = e.Index, nil
	}
	l.mu.logs = append(l.mu.logs[:e.Index-l.mu.first:e.Index-l.mu.first], e)
}

func (l *logStore) keep(first, last uint64) {
	if len(l.mu.logs) == 0 {
		return
	}
	first, last = max(first, l.mu.first), min(last, l.last())
	if first > last {
		l.mu.logs = nil
		return
	}
	l.mu.first, l.mu.logs = first, l.mu.logs[first-l.mu.first:last-l.mu.first+1]
}

// write makes records durable with one sync. After a failure every write fails.
func (l *logStore) write(records ...[]byte) error {
	if l.failed != nil {
		return l.failed
	}
	var all []byte
	for _, r := range records {
		all = append(all, r...)
	}
	_, err := l.file.Write(all)
	if err == nil {
		err = l.file.Sync()
	}
	l.failed = err
	return err
}

func (l *logStore) change(records ...[]byte) error {
	if err := l.write(records...); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		l.replay(r[recordHeaderBytes:])
	}
	return nil
}

// FirstIndex implements hraft.LogStore.
func (l *logStore) FirstIndex() (uint64, error) {
	defer l.look()()
	if len(l.mu.logs) == 0 {
		return 0, nil
	}
	return l.mu.first, nil
}

// LastIndex implements hraft.LogStore.
func (l *logStore) LastIndex() (uint64, error) {
	defer l.look()()
	if len(l.mu.logs) == 0 {
		return 0, nil
	}
	return l.last(), nil
}

// GetLog implements hraft.LogStore.
func (l *logStore) GetLog(index uint64, out *hraft.Log) error {
	defer l.look()()
	if len(l.mu.logs) == 0 || index < l.mu.first || index > l.last() {
		return hraft.ErrLogNotFound
	}
	*out = *l.mu.logs[index-l.mu.first]
	return nil
}

// StoreLog implements hraft.LogStore.
func (l *logStore) StoreLog(e *hraft.Log) error { return l.StoreLogs([]*hraft.Log{e}) }

// StoreLogs implements hraft.LogStore.
func (l *logStore) StoreLogs(entries []*hraft.Log) error {
	defer l.enter()()
	var records [][]byte
	for _, e := range entries {
		records = append(records, entryRecord(e))
	}
	return l.change(records...)
}

// DeleteRange implements hraft.LogStore.
func (l *logStore) DeleteRange(first, last uint64) error {
	defer l.enter()()
	switch {
	case len(l.mu.logs) == 0:
		return nil
	case first <= l.mu.first:
		return l.change(keepRecord(last+1, l.last()))
	default:
		return l.change(keepRecord(l.mu.first, first-1))
	}
}

var errKeyNotFound = errors.New("not found")

// The keys of a vote, as the library has them: it sets the term first, then the candidate.
const (
	keyVoteTerm      = "LastVoteTerm"
	keyVoteCandidate = "LastVoteCand"
)

// Set implements hraft.StableStore.
func (l *logStore) Set(key, value []byte) error {
	defer l.enter()()
	switch string(key) {
	case keyVoteTerm:
		l.voteTerm = append([]byte(nil), value...)
		return l.failed
	case keyVoteCandidate:
		return l.change(record(kindVote, append(append([]byte(nil), l.voteTerm...), value...)))
	}
	return l.change(valueRecord(string(key), value))
}

// Get implements hraft.StableStore.
func (l *logStore) Get(key []byte) ([]byte, error) {
	defer l.look()()
	v, ok := l.mu.values[string(key)]
	if !ok {
		return nil, errKeyNotFound
	}
	return v, nil
}

// SetUint64 implements hraft.StableStore.
func (l *logStore) SetUint64(key []byte, v uint64) error {
	return l.Set(key, binary.LittleEndian.AppendUint64(nil, v))
}

// GetUint64 implements hraft.StableStore.
func (l *logStore) GetUint64(key []byte) (uint64, error) {
	v, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(v), nil
}

// Close implements io.Closer.
func (l *logStore) Close() error {
	defer l.enter()()
	if l.failed == nil {
		l.failed = fs.ErrClosed
	}
	return l.file.Close()
}
