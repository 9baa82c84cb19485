package raft

import (
	"io"

	hraft "github.com/hashicorp/raft"
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

// Storage keeps the logs of all replicas of a node. NodeStorage is that of a node, BoltStorage one
// of a file for each replica.
type Storage interface {
	// Open opens the log of one replica, creating an empty one if there is none. A replica's
	// log must be closed before it is opened again.
	Open(g GroupID, incarnation uint64) (LogStore, error)
	// Close closes what is still open.
	Close() error
}

// BoundedStorage is a Storage whose groups share what it keeps, within a limit.
type BoundedStorage interface {
	Storage
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
