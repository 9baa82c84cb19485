package api

import (
	"fmt"
	"time"
)

// NodeID is the identity of a node: a random UUID kept in its data directory. Names and
// addresses may change; the id does not. The zero value means unknown.
type NodeID string

// ShardID names one shard for ever; ids are never reused. 0 is no shard.
type ShardID uint64

// Namespace is a tenant. Only namespace 0 exists so far.
type Namespace uint32

// Slot is one of SlotCount hash slots.
type Slot uint16

// SlotCount is the number of hash slots, the same as Redis Cluster's, so that cluster-aware
// Redis clients can route.
const SlotCount = 16384

// Index is the position of an entry in a Raft log. The first entry has index 1.
type Index uint64

// Term is a Raft term.
type Term uint64

// Epoch counts the changes of one shard's arc.
type Epoch uint64

// Version is the hybrid logical timestamp of a committed write: 48 bits of milliseconds since
// the Unix epoch and 16 bits of counter. Versions of one shard strictly increase. 0 is "absent".
type Version uint64

const versionCounterBits = 16

// VersionAt is the lowest version within the millisecond ms.
func VersionAt(ms uint64) Version { return Version(ms << versionCounterBits) }

// Millis is the version's physical part in milliseconds since the Unix epoch.
func (v Version) Millis() uint64 { return uint64(v) >> versionCounterBits }

// Time is the version's physical part.
func (v Version) Time() time.Time { return time.UnixMilli(int64(v.Millis())) }

// String prints milliseconds and counter.
func (v Version) String() string {
	return fmt.Sprintf("%d.%d", v.Millis(), uint64(v)&(1<<versionCounterBits-1))
}

// SessionID names a sequence of requests. It is chosen by the client and carries its creation
// time, so that a shard can tell a new session from one it has already forgotten.
type SessionID struct {
	CreatedMillis uint64
	Random        uint64
}

// RequestID makes a write safe to retry: under one id it runs at most once. The zero value
// asks for no such protection.
type RequestID struct {
	Session SessionID
	// Sequence counts from 1 within the session.
	Sequence uint64
	// Floor is the lowest sequence whose answer may still be asked for. Answers below it are
	// released and a request below it is refused.
	Floor uint64
}

// IsZero reports whether the request is unprotected.
func (r RequestID) IsZero() bool { return r.Sequence == 0 }
