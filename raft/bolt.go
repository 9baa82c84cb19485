package raft

import (
	"errors"
	"fmt"
	"sync"

	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft/boltlog"
)

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
