// Package wal is the write-ahead log of one store: its batches in the order in which they were applied, in segment
// files that are used again and again.
//
// It is not a log that anybody reads while it is written, and it keeps nothing that is in tables: the engine says what
// is. It does not know what a batch means. docs/formats/wal.md is the specification of the files.
//
// # The life of a batch
//
//  1. Reserve makes sure that there is room: zeros are written where the record will be, or another segment is begun. A full
//     disk is noticed here, before anything has changed.
//  2. Append encodes the record into a buffer.
//  3. Commit: the first who comes leads. He takes the buffer with the records of all who appended, stamps them with
//     checksums, writes them in one call, syncs, and tells the engine by Done. Who appends meanwhile waits, and
//     one of those leads next; so each batch waits for one sync, and for the end of the one before.
//  4. The leader hands over before he wakes those whose batches are done. A batch costs one wake-up at most, none when
//     one writer is alone; there is no goroutine in between.
//
// With the mode Never a turn does not sync. With Interval nobody waits: Sync makes a turn from time to time.
//
// # The life of a segment
//
//  1. A record does not fit any more: what is written is synced, a free file or a new one gets a header with a new random
//     identity, which is durable, and a seal that names it ends the old segment.
//  2. The engine has the batches of old segments in tables, and a durable manifest says so: their files are free. Two
//     are kept, as they are full of bytes that need not be allocated again; the others are removed.
//
// # Opening
//
// Replay goes from the segment that the manifest names from seal to seal. The engine writes tables of what it is given and
// begins a new log, so that nothing is ever written behind a torn end.
//
// # Goroutines
//
// None of its own. The callers of Commit, Sync, Reserve and Release lead in turns.
//
// # Locks
//
// Log.mu is a leaf. Leadership is passed from one caller to the next; it is held over I/O, and who has it takes only Log.mu.
//
// # Invariants
//
//   - WL1: what Commit or Sync made durable is replayed after every crash until it is released; what was on its way is
//     there up to some batch, and nothing else.
//   - WL2: a record is valid only in the segment, and at the offset, that it was written for: its checksum covers both, so that
//     nothing that a former life of the file left is ever read.
//   - WL3: bytes that were synced and do not read back are damage, never a torn end, if anything that was
//     written later proves it: each record says how far its segment was durable when it was written, and a seal is
//     durable before the next segment has records.
//   - WL4: after the first failed write or sync nothing more is done; everything that waits fails with that error.
//   - WL5: a file is used again, or removed, only when a durable manifest says that its segment is not needed.
package wal
