// Package sharedlog is the log that all replicas of a node share: entries, terms and votes of many
// Raft groups in one sequence of segment files, with one write and one sync for everything that is
// queued.
//
// It is not a consensus log: it knows replicas by two numbers and decides nothing. It does not hold
// the meta group's log, which is a bbolt file of its own (package boltlog). docs/formats/shared-log.md
// is the specification of the files.
//
// # The life of an entry
//
//  1. View.StoreLogs queues a request and wakes the writer.
//  2. The writer takes everything that is queued, by all groups, and makes one batch of records of
//     it, written to the current segment and synced once. There is no timer: what arrives during a
//     sync is the next batch.
//  3. Only then it changes what readers see: where the entry is, and the entry itself in the tail
//     cache. The waiters are woken, one wake-up for each. Readers see the entries of StoreEarly from step 1 on,
//     and nobody waits for them: the writer calls who OnDurable named (see early.go).
//  4. Replication and apply take the entry from the cache. When it is pushed out there, GetLog reads
//     it from the file and verifies it.
//  5. DeleteRange makes a record that says what is gone.
//
// # The life of a segment
//
//  1. A full segment is sealed: a file that is free, or a new one, gets a header with a new random
//     id and UUID, which is durable before the seal that names it.
//  2. The writer counts what of it somebody needs. When little is left in the oldest segment, it
//     copies that to the end of the log, a little with each batch, so that an idle group pins nothing.
//  3. If much is left and the log is above its limit, Pinned says whose it is; package raft has that
//     group make its state durable and cut its log.
//  4. When nothing of the oldest is needed, after a cut, a drop or a copy, a record says so at once; when
//     that is durable, the file is free. The writer copies on by itself as long as that gives segments
//     free, so that a node whose writes have ended keeps three of them and two free files at most,
//     besides what its groups need.
//
// # Opening
//
// The segments are repeated in order. Every record says by itself what it changes, so that records
// in segments that are gone are not missed. A record that is not valid ends the log if nothing
// behind it proves that it was synced; otherwise it is damage (LG4). The log goes on in a new
// segment, never behind a torn end.
//
// # Goroutines
//
//   - writer.loop: started by Open, ends at Log.Close.
//
// # Locks
//
// Log.mu before group.mu, in Log.take and Log.queueEarly only. Log.segments, group.mu and View.mu are leaves otherwise.
// None is held during I/O. The writer is the only one who changes what Log.segments and group.mu
// guard, and needs them only for that.
//
// # Invariants
//
//   - LG1: what a write was acknowledged for is read back after every crash; what was on its way is
//     there up to some record, and nothing else.
//   - LG2: a record is valid only in the segment, and at the offset, that it was written for: its
//     checksum covers the segment's id, the file's UUID and the offset, so that nothing that a former
//     life of the file left is ever read.
//   - LG3: after the first failed write or sync nothing is acknowledged; every later write fails with
//     the same error.
//   - LG4: bytes that were synced and do not read back are damage, never a torn end, if anything that
//     was written after them proves it. A damaged payload refuses its replica, until that is dropped;
//     everything else the log.
//   - LG5: a vote, its term and its candidate, is one record.
//   - LG6: a file is used again only when a durable record says that its segment is not needed.
//   - LG7: what is stored and not durable is the end of a replica's log. Everything else that is written for it
//     later is durable only after that.
package sharedlog
