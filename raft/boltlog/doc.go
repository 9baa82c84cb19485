// Package boltlog is the log of one Raft replica in one bbolt file: entries, term and vote.
//
// It is not shared between replicas and not fast: every write is two fsyncs of its own file. It
// stands on hashicorp's raft-boltdb and adds what that lacks: a checksum on every record, a vote
// that is one record, a range of indexes without holes, an end after the first failed write, and
// the newest entries in memory. docs/formats/raft-log.md is the specification of the file.
//
// # The life of an entry
//
//  1. StoreLogs seals it with a checksum and commits it in one transaction with its neighbours.
//     What it replaces was deleted by a transaction before.
//  2. It stays in the tail cache, from where replication and apply take it.
//  3. When it is pushed out there, GetLog reads it from the file and verifies it.
//  4. DeleteRange removes it when it is not needed any more. The file does not shrink.
//
// # Goroutines
//
// None.
//
// # Locks
//
// Log.writeMu, held during writes, before Log.mu, a leaf. tailCache.mu is a leaf.
package boltlog
