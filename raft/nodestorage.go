package raft

import (
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft/sharedlog"
)

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

// Pinned implements BoundedStorage.
func (s *NodeStorage) Pinned() (GroupID, uint64, bool) {
	p, ok := s.shared.Pinned()
	return GroupID(p.Group), p.Through, ok
}
