package boltlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// database is the part of raftboltdb.BoltStore that a Log uses; tests put a failing one in its
// place.
type database interface {
	hraft.LogStore
	Set(key, value []byte) error
	Get(key []byte) ([]byte, error)
	Close() error
}

// Log makes the log of a Raft replica of raft-boltdb's store: it adds a checksum to every
// record, makes the vote one record, keeps the range of indexes without holes, and fails for
// good after the first failed write. Safe for concurrent use.
type Log struct {
	db database

	// writeMu orders writers. Held during I/O; taken before mu.
	writeMu sync.Mutex
	// stagedVoteTerm is the term of the vote that is being written. Guarded by writeMu.
	stagedVoteTerm uint64

	// mu is a leaf: no I/O while it is held.
	mu struct {
		sync.RWMutex
		first, last uint64 // 0, 0 when empty
		failed      error  // the first failed write
		closed      bool
	}
	cache *tailCache
}

// The keys that hashicorp/raft uses, and our record that holds the last two together.
const (
	keyLastVoteTerm = "LastVoteTerm"
	keyLastVoteCand = "LastVoteCand"
	keyVote         = "Vote"
)

// keyFormat holds the format of the records, in every file.
const (
	keyFormat  = "Format"
	fileFormat = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errKeyNotFound has the text that hashicorp/raft compares.
var errKeyNotFound = errors.New("not found")

var errClosed = fmt.Errorf("raft log: %w", fs.ErrClosed)

// DamageError says that a record was read back other than it was written. The log serves no
// such record.
type DamageError struct {
	Record string // which record: an index or a key
	Reason string
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("raft log: record %s is damaged: %s", e.Record, e.Reason)
}

// A second process on the same file would otherwise wait for ever.
const lockTimeout = time.Second

// Open opens the log in the file path, creating it if it is missing. The caller makes the name
// durable. The newest entries are kept in memory, up to cacheBytes.
func Open(path string, cacheBytes int) (*Log, error) {
	db, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		// The free list is rebuilt on open instead of being rewritten by every commit.
		BoltOptions: &bbolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
	if err != nil {
		return nil, err
	}
	l, err := newLog(db, cacheBytes)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

func newLog(db database, cacheBytes int) (*Log, error) {
	l := &Log{db: db, cache: newTailCache(cacheBytes)}
	first, err := db.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("read first index: %w", err)
	}
	last, err := db.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("read last index: %w", err)
	}
	l.mu.first, l.mu.last = first, last
	return l, l.checkFormat()
}

// checkFormat stamps a new file and refuses one of another format.
func (l *Log) checkFormat() error {
	format, err := l.GetUint64([]byte(keyFormat))
	switch {
	case err == nil && format == fileFormat:
		return nil
	case err == nil:
		return fmt.Errorf("the log is of format %d, this program knows %d", format, fileFormat)
	case !errors.Is(err, errKeyNotFound):
		return err
	}
	if _, err := l.getStable("CurrentTerm"); err == nil || l.mu.last != 0 {
		return &DamageError{Record: keyFormat, Reason: "missing"}
	}
	return l.SetUint64([]byte(keyFormat), fileFormat)
}

// FirstIndex implements hraft.LogStore.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mu.first, nil
}

// LastIndex implements hraft.LogStore.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mu.last, nil
}

// GetLog implements hraft.LogStore. The entry's data is shared: nobody may change it.
func (l *Log) GetLog(index uint64, out *hraft.Log) error {
	if l.cache.get(index, out) {
		return nil
	}
	if !l.holds(index) {
		return hraft.ErrLogNotFound
	}
	var stored hraft.Log
	err := l.do(func() error { return l.db.GetLog(index, &stored) })
	if err == nil {
		err = verifyEntry(index, &stored)
	}
	if err == nil {
		*out = stored
		return nil
	}
	// The entry may have been deleted between the look at the range and the read.
	if !l.holds(index) {
		return hraft.ErrLogNotFound
	}
	if errors.Is(err, hraft.ErrLogNotFound) {
		return &DamageError{Record: fmt.Sprint(index), Reason: "missing"}
	}
	return fmt.Errorf("read entry %d: %w", index, err)
}

func (l *Log) holds(index uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return index != 0 && index >= l.mu.first && index <= l.mu.last
}

// do runs one call of the database, which panics when its own pages are damaged.
func (l *Log) do(f func() error) (err error) {
	l.mu.RLock()
	closed := l.mu.closed
	l.mu.RUnlock()
	if closed {
		return errClosed
	}
	defer func() {
		if p := recover(); p != nil {
			err = &DamageError{Record: "page", Reason: fmt.Sprint(p)}
		}
	}()
	return f()
}

// entryChecksum covers everything that defines an entry.
func entryChecksum(e *hraft.Log) []byte {
	var fixed [17]byte
	binary.LittleEndian.PutUint64(fixed[0:], e.Index)
	binary.LittleEndian.PutUint64(fixed[8:], e.Term)
	fixed[16] = byte(e.Type)
	sum := crc32.Update(crc32.Checksum(fixed[:], castagnoli), castagnoli, e.Data)
	return binary.LittleEndian.AppendUint32(nil, sum)
}

// verifyEntry checks a record as it came from disk and removes what sealEntry added.
func verifyEntry(index uint64, e *hraft.Log) error {
	if e.Index != index {
		return &DamageError{Record: fmt.Sprint(index), Reason: fmt.Sprintf("it says that it is %d", e.Index)}
	}
	if !bytes.Equal(e.Extensions, entryChecksum(e)) {
		return &DamageError{Record: fmt.Sprint(index), Reason: "checksum mismatch"}
	}
	e.Extensions = nil
	return nil
}

// sealEntry is the record for an entry. The checksum travels in Extensions, a field that
// hashicorp/raft leaves to its embedder, so that the data need not be copied.
func sealEntry(e *hraft.Log) (*hraft.Log, error) {
	if len(e.Extensions) != 0 {
		return nil, fmt.Errorf("entry %d carries extensions, which the log does not keep", e.Index)
	}
	return &hraft.Log{
		Index: e.Index, Term: e.Term, Type: e.Type, Data: e.Data,
		Extensions: entryChecksum(e), AppendedAt: e.AppendedAt,
	}, nil
}

// StoreLog implements hraft.LogStore.
func (l *Log) StoreLog(e *hraft.Log) error { return l.StoreLogs([]*hraft.Log{e}) }

// StoreLogs implements hraft.LogStore. The entries' data must not change afterwards.
func (l *Log) StoreLogs(entries []*hraft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	sealed := make([]*hraft.Log, len(entries))
	for i, e := range entries {
		if e.Index != entries[0].Index+uint64(i) {
			return fmt.Errorf("store entries: index %d follows %d", e.Index, entries[i-1].Index)
		}
		var err error
		if sealed[i], err = sealEntry(e); err != nil {
			return err
		}
	}
	first, last := entries[0].Index, entries[len(entries)-1].Index
	if err := l.makeRoom(first); err != nil {
		return err
	}
	if err := l.write("store entries", func() error { return l.db.StoreLogs(sealed) }); err != nil {
		return err
	}
	l.mu.Lock()
	if l.mu.first == 0 {
		l.mu.first = first
	}
	l.mu.last = last
	l.mu.Unlock()
	l.cache.add(entries)
	return nil
}

// makeRoom deletes what may not stay when the next entry stored is first: the suffix that it
// replaces, or everything if it leaves a gap. Dying between this and the store is harmless:
// what is gone was either never acknowledged or is held by the state machine.
func (l *Log) makeRoom(first uint64) error {
	l.mu.RLock()
	haveFirst, haveLast := l.mu.first, l.mu.last
	l.mu.RUnlock()
	switch {
	case haveLast == 0 || first == haveLast+1:
		return nil
	case first > haveLast+1 || first <= haveFirst:
		return l.deleteLocked(haveFirst, haveLast)
	default:
		return l.deleteLocked(first, haveLast)
	}
}

// DeleteRange implements hraft.LogStore. The range must touch an end of the log.
func (l *Log) DeleteRange(start, end uint64) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	return l.deleteLocked(start, end)
}

func (l *Log) deleteLocked(start, end uint64) error {
	l.mu.RLock()
	first, last := l.mu.first, l.mu.last
	l.mu.RUnlock()
	start, end = max(start, first), min(end, last)
	if first == 0 || start > end {
		return nil
	}
	if start > first && end < last {
		return fmt.Errorf("delete entries %d to %d: would leave a hole in %d to %d", start, end, first, last)
	}
	// Readers must not find in memory what is going from disk, and the other way round a
	// reader that finds neither sees "not found", which is true by then.
	l.mu.Lock()
	switch {
	case start == first && end == last:
		l.mu.first, l.mu.last = 0, 0
	case start == first:
		l.mu.first = end + 1
	default:
		l.mu.last = start - 1
	}
	l.mu.Unlock()
	l.cache.drop(start, end)
	return l.write("delete entries", func() error { return l.db.DeleteRange(start, end) })
}

// write runs one write of the database. After the first failure nothing is written any more:
// what the disk holds is not known, so a later success would prove nothing.
func (l *Log) write(what string, f func() error) error {
	l.mu.RLock()
	failed, closed := l.mu.failed, l.mu.closed
	l.mu.RUnlock()
	if failed != nil {
		return failed
	}
	if closed {
		return errClosed
	}
	err := l.do(f)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("raft log: %s: %w", what, err)
	l.mu.Lock()
	l.mu.failed = err
	l.mu.Unlock()
	return err
}

// Set implements hraft.StableStore. The candidate completes the vote whose term SetUint64
// staged: both become durable in one record, or neither.
func (l *Log) Set(key, value []byte) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if string(key) != keyLastVoteCand {
		return l.setLocked(string(key), value)
	}
	vote := binary.LittleEndian.AppendUint64(nil, l.stagedVoteTerm)
	return l.setLocked(keyVote, append(vote, value...))
}

// SetUint64 implements hraft.StableStore.
func (l *Log) SetUint64(key []byte, value uint64) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if string(key) == keyLastVoteTerm {
		l.stagedVoteTerm = value
		return nil
	}
	return l.setLocked(string(key), binary.LittleEndian.AppendUint64(nil, value))
}

// setLocked writes value | crc32c(key | value).
func (l *Log) setLocked(key string, value []byte) error {
	record := binary.LittleEndian.AppendUint32(bytes.Clone(value), stableChecksum(key, value))
	return l.write("set "+key, func() error { return l.db.Set([]byte(key), record) })
}

func stableChecksum(key string, value []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
}

// Get implements hraft.StableStore.
func (l *Log) Get(key []byte) ([]byte, error) {
	if string(key) == keyLastVoteCand {
		_, candidate, err := l.vote()
		return candidate, err
	}
	return l.getStable(string(key))
}

// GetUint64 implements hraft.StableStore.
func (l *Log) GetUint64(key []byte) (uint64, error) {
	if string(key) == keyLastVoteTerm {
		term, _, err := l.vote()
		return term, err
	}
	b, err := l.getStable(string(key))
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, &DamageError{Record: string(key), Reason: "wrong length"}
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (l *Log) vote() (term uint64, candidate []byte, err error) {
	b, err := l.getStable(keyVote)
	if err != nil {
		return 0, nil, err
	}
	if len(b) < 8 {
		return 0, nil, &DamageError{Record: keyVote, Reason: "wrong length"}
	}
	return binary.LittleEndian.Uint64(b), b[8:], nil
}

func (l *Log) getStable(key string) ([]byte, error) {
	var record []byte
	err := l.do(func() (err error) {
		record, err = l.db.Get([]byte(key))
		return err
	})
	if err != nil {
		if err.Error() == errKeyNotFound.Error() {
			return nil, errKeyNotFound
		}
		return nil, fmt.Errorf("raft log: read %s: %w", key, err)
	}
	if len(record) < 4 {
		return nil, &DamageError{Record: key, Reason: "wrong length"}
	}
	value := record[:len(record)-4]
	if binary.LittleEndian.Uint32(record[len(value):]) != stableChecksum(key, value) {
		return nil, &DamageError{Record: key, Reason: "checksum mismatch"}
	}
	return value, nil
}

// Close implements io.Closer. A second call does nothing.
func (l *Log) Close() error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.mu.Lock()
	closed := l.mu.closed
	l.mu.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	if err := l.db.Close(); err != nil {
		return fmt.Errorf("close raft log: %w", err)
	}
	return nil
}
