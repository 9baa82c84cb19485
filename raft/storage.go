package raft

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft/boltlog"
	"github.com/lightning-db/lightning/raft/sharedlog"
)

// LogStore holds the log, the term and the vote of one replica. It is what hashicorp/raft asks
// for, with these promises on top:
//
//   - a write is durable when it returns; after a write failed, every later one fails with the
//     first error;
//   - the vote (keys LastVoteTerm and LastVoteCand) is one atomic record;
//   - a record is verified on every read from disk; damage is an error, never an answer;
//   - storing at or below the last index replaces the suffix; storing beyond the next index
//     drops everything before; the indexes held are one range without holes;
//   - a missing entry is hraft.ErrLogNotFound, a missing key an error with the text "not found";
//   - after Close every call that would touch the disk fails with fs.ErrClosed.
//
// Safe for concurrent use by one writer and many readers.
type LogStore interface {
	hraft.LogStore
	hraft.StableStore
	io.Closer
}

// EarlyLogStore is a LogStore that can take entries without making its caller wait until they are durable.
type EarlyLogStore interface {
	LogStore
	// StoreEarly stores entries like StoreLogs. If early is true, they are not durable yet; they can be read
	// like all others. Every write that is called for later is durable only after them.
	StoreEarly(entries []*hraft.Log) (early bool, err error)
	// Durable is the index up to which everything that is stored is durable, the highest of all when
	// nothing waits.
	Durable() uint64
	// OnDurable names who is told, in order, up to where early entries are durable, or why they never will
	// be. f must not block, and must not write to the log.
	OnDurable(f func(through uint64, err error))
}

// Storage keeps the logs of all replicas of a node. NodeStorage is that of a node, BoltStorage one
// of a file for each replica.
type Storage interface {
	// Open opens the log of one replica, creating an empty one if there is none. A replica's
	// log must be closed before it is opened again.
	Open(g GroupID, incarnation uint64) (LogStore, error)
	// Drop forgets the log of a replica, which must be closed, for good. When it returns that is durable: Open
	// refuses this replica from then on. It may be repeated.
	Drop(g GroupID, incarnation uint64) error
	// Dropped reports whether Open refuses a replica because of that.
	Dropped(g GroupID, incarnation uint64) (bool, error)
	// Close closes what is still open.
	Close() error
}

// BoundedStorage is a Storage whose groups share what it keeps, within a limit.
type BoundedStorage interface {
	Storage
	// Excess is by how many bytes the storage is above its limit, negative below it.
	Excess() int64
	// Full yields when Pinned has changed.
	Full() <-chan struct{}
	// Pinned is the group that should make its state durable and cut its log up to index through,
	// false while the storage is within its limit.
	Pinned() (group GroupID, through uint64, ok bool)
}

// The keys that hashicorp/raft uses and this package reads.
const (
	keyCurrentTerm  = "CurrentTerm"
	keyLastVoteCand = "LastVoteCand"
)

// isKeyNotFound compares the text, as the library does, which has no error for it.
func isKeyNotFound(err error) bool { return err.Error() == "not found" }

// NodeStorageOptions configures a NodeStorage. Dir, FS and Entropy are required.
type NodeStorageOptions struct {
	// Dir gets the file of the meta group and, in Dir/log, the shared log. It is made if missing.
	Dir     string
	FS      vfs.FS
	Entropy entropy.Source
	// SegmentBytes and MaxBytes are those of sharedlog.Options; 0 means their defaults.
	SegmentBytes, MaxBytes int64
}

// NodeStorage is the Storage of a node: the log of the meta group, whose writes are rare, is a
// bbolt file, and all other groups share one log, whose writes are one sync for all.
type NodeStorage struct {
	meta   *BoltStorage
	shared *sharedlog.Log
	full   chan struct{} // capacity 1
}

// NewNodeStorage opens the shared log. Damage in it that cannot be attributed to a replica is an
// error here, other damage is one of Open.
func NewNodeStorage(o NodeStorageOptions) (*NodeStorage, error) {
	meta, err := NewBoltStorage(BoltOptions{Dir: o.Dir, FS: o.FS})
	if err != nil {
		return nil, err
	}
	s := &NodeStorage{meta: meta, full: make(chan struct{}, 1)}
	s.shared, err = sharedlog.Open(sharedlog.Options{
		Dir: o.Dir + "/log", FS: o.FS, Entropy: o.Entropy, OnFull: s.onFull,
		SegmentBytes: o.SegmentBytes, MaxBytes: o.MaxBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("raft storage: %w", err)
	}
	return s, nil
}

// Open implements Storage.
func (s *NodeStorage) Open(g GroupID, incarnation uint64) (LogStore, error) {
	if g == MetaGroup {
		return s.meta.Open(g, incarnation)
	}
	return s.shared.View(uint64(g), incarnation)
}

// Drop implements Storage.
func (s *NodeStorage) Drop(g GroupID, incarnation uint64) error {
	if g == MetaGroup {
		return s.meta.Drop(g, incarnation)
	}
	if s.shared.Dropped(uint64(g), incarnation) {
		return nil
	}
	return s.shared.Drop(uint64(g), incarnation)
}

// Dropped implements Storage.
func (s *NodeStorage) Dropped(g GroupID, incarnation uint64) (bool, error) {
	if g == MetaGroup {
		return s.meta.Dropped(g, incarnation)
	}
	return s.shared.Dropped(uint64(g), incarnation), nil
}

// Close implements Storage.
func (s *NodeStorage) Close() error { return errors.Join(s.meta.Close(), s.shared.Close()) }

func (s *NodeStorage) onFull() {
	select {
	case s.full <- struct{}{}:
	default:
	}
}

// Full implements BoundedStorage.
func (s *NodeStorage) Full() <-chan struct{} { return s.full }

// Excess implements BoundedStorage.
func (s *NodeStorage) Excess() int64 { return s.shared.Excess() }

// Usage is what the shared log holds.
func (s *NodeStorage) Usage() sharedlog.Usage { return s.shared.Usage() }

// Pinned implements BoundedStorage.
func (s *NodeStorage) Pinned() (GroupID, uint64, bool) {
	p, ok := s.shared.Pinned()
	return GroupID(p.Group), p.Through, ok
}

// BoltOptions configures a BoltStorage. Dir and FS are required.
type BoltOptions struct {
	// Dir is the directory of the files, <group>-<incarnation>.db each. It is made if missing.
	Dir string
	// FS makes and syncs the directory. The files themselves are opened by bbolt, which knows
	// only the machine's file system.
	FS vfs.Dirs
	// CacheBytes bounds the newest entries that each log keeps in memory, so that replication
	// and apply do not read what was just written. Default 16 MiB: two of the largest entries
	// and thousands of ordinary ones.
	CacheBytes int
}

const defaultCacheBytes = 16 << 20

// BoltStorage is a Storage with one bbolt file per replica. Each write is two fsyncs of that
// file alone, so it suits a group that writes rarely.
type BoltStorage struct {
	opts BoltOptions

	// mu is held while a file is opened or closed.
	mu   sync.Mutex
	open map[string]*storedLog // by file name
}

// storedLog leaves its storage when it is closed.
type storedLog struct {
	*boltlog.Log
	storage *BoltStorage
	name    string
}

// NewBoltStorage makes the directory if needed.
func NewBoltStorage(o BoltOptions) (*BoltStorage, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("make raft log directory: %w", err)
	}
	return &BoltStorage{opts: o, open: make(map[string]*storedLog)}, nil
}

// Open implements Storage.
func (s *BoltStorage) Open(g GroupID, incarnation uint64) (LogStore, error) {
	name := fmt.Sprintf("%s-%d.db", g, incarnation)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[name] != nil {
		return nil, fmt.Errorf("open raft log %s: it is open already", name)
	}
	if dropped, err := s.Dropped(g, incarnation); dropped || err != nil {
		return nil, errors.Join(fmt.Errorf("open raft log %s: the replica was dropped", name), err)
	}
	l, err := boltlog.Open(s.opts.Dir+"/"+name, s.opts.CacheBytes)
	if err != nil {
		return nil, fmt.Errorf("open raft log %s: %w", name, err)
	}
	// A crash must not forget the name of a file that holds a vote.
	if err := s.opts.FS.SyncDir(s.opts.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("sync raft log directory: %w", err), l.Close())
	}
	stored := &storedLog{Log: l, storage: s, name: name}
	s.open[name] = stored
	return stored, nil
}

// droppedSuffix ends the name of a directory, an empty one, that says that a replica was dropped. One for each
// incarnation stays: the group that has its log here is the only one of its kind.
const droppedSuffix = ".dropped"

// Drop implements Storage.
func (s *BoltStorage) Drop(g GroupID, incarnation uint64) error {
	name := fmt.Sprintf("%s-%d.db", g, incarnation)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[name] != nil {
		return fmt.Errorf("drop raft log %s: it is open", name)
	}
	if err := s.opts.FS.MkdirAll(s.opts.Dir + "/" + name + droppedSuffix); err != nil {
		return fmt.Errorf("drop raft log %s: %w", name, err)
	}
	if err := errors.Join(s.opts.FS.RemoveAll(s.opts.Dir+"/"+name), s.opts.FS.SyncDir(s.opts.Dir)); err != nil {
		return fmt.Errorf("drop raft log %s: %w", name, err)
	}
	return nil
}

// Dropped implements Storage.
func (s *BoltStorage) Dropped(g GroupID, incarnation uint64) (bool, error) {
	names, err := s.opts.FS.List(s.opts.Dir)
	if err != nil {
		return false, fmt.Errorf("list raft logs: %w", err)
	}
	return slices.Contains(names, fmt.Sprintf("%s-%d.db", g, incarnation)+droppedSuffix), nil
}

// Close implements io.Closer.
func (l *storedLog) Close() error {
	l.storage.mu.Lock()
	defer l.storage.mu.Unlock()
	delete(l.storage.open, l.name)
	if err := l.Log.Close(); err != nil {
		return fmt.Errorf("close raft log %s: %w", l.name, err)
	}
	return nil
}

// Close implements Storage.
func (s *BoltStorage) Close() error {
	s.mu.Lock()
	logs := make([]*storedLog, 0, len(s.open))
	for _, l := range s.open {
		logs = append(logs, l)
	}
	s.mu.Unlock()
	var errs []error
	for _, l := range logs {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
