// Package vfs is the file system as a seam: every byte that Lightning DB stores goes through FS.
//
// It is not a general file system. It has what storage code needs and no more: files that are
// written once from the start to the end, files that are written in place again and again, atomic
// renames, hard links, directory syncs, one lock. There is no seek, no mode and no time stamp.
//
// # Implementations
//
//   - OS is the machine's file system.
//   - Mem keeps everything in memory and knows, for each file, which bytes were synced and, for
//     each directory, which names were. CrashClone answers "what would the disk hold if the power
//     failed now?" with a new, independent Mem; KillClone what the process alone leaves when it dies.
//   - Fault passes calls on to another FS and fails those that its Injector picks.
//
// # The life of a durable write
//
//  1. Create makes a name and an empty file. Neither is durable.
//  2. Write appends bytes. A crash may keep any of them, in any order, or tear the last.
//  3. File.Sync makes the bytes durable. The name may still vanish in a crash.
//  4. Rename gives the file its final name, atomically: a crash leaves the old or the new file.
//  5. SyncDir makes the name durable. Only now is the file there for good.
//
// # The life of a write in place
//
//  1. Update opens a file that exists; its name is durable already.
//  2. WriteAt replaces bytes. Until the next sync a crash leaves each sector of 512 bytes that was
//     touched old, new or torn, whatever the order of the writes was.
//  3. SyncData makes the bytes durable.
//
// # Goroutines
//
// None. Calls block their caller.
//
// # Locks
//
// Mem has one lock over the whole tree; it is a leaf. The functions given to Mem.OnCall and
// NewFault are called with no lock held, so that they may look at the file system.
//
// # Invariants
//
//   - D1: bytes that File.Sync reported durable, under a name that SyncDir reported durable, are
//     in every crash clone until they are removed or replaced.
//   - D2: a rename is atomic in every crash clone: the new name holds the old file or the new one.
//   - D3: after a failed Sync the bytes that it should have written count as lost, even if a later
//     Sync succeeds. This is what Linux does, and why a failed sync must not be retried.
//   - D4: a crash clone shares no state with its origin: neither sees the other's later changes.
//   - D5: of a sector that was written in place and not synced, a crash leaves for each byte the old
//     or the new value. So bytes that a write did not change survive it, even in a torn sector.
package vfs
