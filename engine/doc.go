// Package engine is an embeddable ordered key-value store that keeps versions of its values: one
// directory, one process, many readers, one writer at a time.
//
// It knows nothing of replication, shards or networks, and has a clock only if Options.Clock gives it one. Used alone it has a log, if Options.Log says so:
//
//	db, err := engine.Open(dir, engine.Options{Log: engine.LogAlways})
//
// Without one, Apply is durable only when a flush has written it, by itself in time or by Flush, Checkpoint
// or Close: under replication the caller's log repeats what came after Durable.
//
// # The life of a row
//
//  1. Batch.Put copies key and value into the batch.
//  2. Apply checks versions, gives the rows sequence numbers, adds them to the memtable (a hash
//     index that readers use without locks, and an order that walks make) and then publishes what is
//     applied: the batch becomes visible whole. Position and horizon travel in the same step.
//  3. A full memtable is sealed. The flush loop writes it as a checksummed table of level 0 and
//     installs the table together with position, horizon, last sequence and last version by one
//     atomic replacement of the manifest. Flushes install in the order of the batches.
//  4. The compaction loop has tables merged downwards through the levels, or moves one that overlaps
//     nothing there, and drops what nobody can ask for any more: package retain says what that is,
//     package levels what to merge next. Several merges run at once if their keys or levels do not meet.
//  5. Get asks the row cache, or filters first where most reads find nothing (absent.go), then looks into the memtable, the sealed ones, level 0 from the newest, then one table per
//     level. What it finds in a table as the newest row of its key it gives to the row cache. An Iterator merges all of them, and goes over
//     what one table has to itself without the merge.
//
// # With a log
//
// Step 2 then has three parts. Under DB.write a batch is checked, the log makes room for its record, its rows go into the
// memtable, where nobody sees them, and its record into a buffer. Then the first of those who wait writes and syncs
// the buffer for all of them (package wal). Only then the batches are published, in the order of the log.
//
// A batch could be visible before it is durable, and readers would see it a sync earlier. But somebody may read it, tell others, and
// the power goes: they know of a value that never was. So LogAlways shows what is synced, LogNever what the system
// has, and only LogInterval, which promises nothing for the single batch, shows what is in memory.
//
// A memtable is sealed only when all of its batches are published: the flush may drop what they replace. The manifest says
// up to which batch the tables reach, and which segments of the log are needed for the others. Open repeats those, flushes them, and
// begins a new log. Close flushes, and leaves no log; a checkpoint never has one. The log's bytes count for a memtable, too,
// so that the log is bounded as memtables are.
//
// # Versions, snapshots and sequences
//
// A version is the caller's time; a read at version v sees, of each key, the newest row not above
// v. A snapshot is the engine's time: it sees the batches applied before it was made. Of rows with the
// same key and version the later applied counts. Without Options.RetainVersions only the newest
// row of a key, and what open snapshots see as newest, is kept; with it, whatever a read at
// Horizon().Version or above can see.
//
// # Transactions
//
// A Tx reads at a snapshot and keeps its writes to itself (package txn). Nothing is locked and nothing is kept of other commits:
// Commit asks the rows themselves. Under DB.write, where every batch that was taken is in memory, visible or not, it looks
// whether the newest row of a key that counts has a sequence above the transaction's: one probe of a hash index for each
// memtable, and only such tables as have later sequences at all. What was walked over is checked by the rows that came since,
// which a memtable has in the order in which they came. Whatever may read tables or many rows is done before, without the lock,
// up to a sequence from which the rest is checked under it. Then the writes are applied as one batch.
//
// Since the transaction's snapshot is open, no newer row is dropped but for a still newer one, and no newer tombstone at all.
//
// # Column families
//
// In a store that is made with Options.Families every key has the prefix of its family's id (package family). Everything below
// the interface sees one tree of keys, so batches, transactions, flushes, checkpoints and crashes are atomic across families without
// further ado. Which families there are is rows of that tree. DropFamily marks such a row and flushes; from then on
// flushes and compactions leave the rows out, and the compaction loop rewrites every table that may have some.
//
// # Deleted ranges
//
// Batch.DeleteRange adds one row, a range tombstone, which stands for a tombstone of each key in its range (package rangedel). It has a version
// and a sequence as any row; memtables and tables keep it apart from rows. A read takes the newest one that covers its key, in each place
// where it looks, for one more row of that key; so does a flush or a compaction for each row, which then keeps or drops rows and tombstones by the rules of
// package retain. Where there are none it costs a look at a pointer. A table of which a range tombstone in another table hides everything, from
// every snapshot, is dropped without being read. The row cache cannot tell which of its rows are in a range, so it forgets all.
//
// # Expiry
//
// With Options.Clock a row is absent from the millisecond of its expiry on, for every read. Each batch carries the time into the
// horizon, so that it is in the log and in the manifest: the store's time does not go back when the clock does, also not
// over Close and Open, or a crash, after which it is at least that of the last batch that is left. Flushes and compactions
// drop what has expired by that time; a store at rest looks once a minute.
//
// # Rows in the cache
//
// The row cache (package rowcache) has newest rows as point reads found them, and a read that finds one there takes no lock,
// no reference on a view, and no memory but the caller's (GetInto). Putting a row in is a race with its next version. So publish marks the
// places of a batch's keys before it makes the batch visible, and again after; a read that looked before either mark puts nothing
// in. With a log that is not synced yet, that is when the leader of the log publishes, for the batches of all who wait: their hashes wait in
// DB.pending. A snapshot is served a row of the cache if it sees that row's sequence: then the newest row of all is the newest that it sees. What
// changes in another way than by batches, as Close does, goes through rowcache.Replace or Close.
//
// # When the disk is slower than the writer
//
// A full memtable is sealed while another one fills; two may be sealed. When they are, Apply fills the
// third only as far as the flush of the oldest has come, and a flush that is ahead of a compaction writes its table
// only as fast as that goes on (pace.go): so a writer is slowed down to the speed of the disk, bit by bit, and
// does not run and stand in turns. At StopCount tables in level 0 flushes stand.
//
// # Failures
//
// The first write, sync, rename or directory sync that fails, in a flush or a compaction, and not because the disk is full, makes
// the store refuse writes with FailedError for good; Options.OnFailure is told. Nothing is
// retried: a second fsync can succeed although the first one lost the data. A failure inside the
// new directory of a Checkpoint only fails that call. Damage found by a read is that read's
// CorruptionError; found by a compaction it is a failure of the store.
//
// A full disk is no failure (full.go). A flush or a compaction that finds no room for a new file, before it syncs that, removes what it
// has written and tries again a second later, or when somebody calls Flush. Meanwhile batches gather in memory; when the memtables
// are full, or the log has no room for a batch, Apply returns ErrDiskFull, nothing has changed, and reads go on. Batches of deletes
// alone are taken for longer: the last memtable and the end of each segment are kept for them. A sync that fails is
// final whatever it says. What the log had written when a write or sync of it fails, nobody knows: the batches that
// wait get the FailedError, are not visible, and the next Open may find them.
//
// # Looking after a store
//
// Options.ReadOnly opens a store without changing anything; readers share LOCK and keep a writer out. Verify ends at the first damage, Scrub
// names all of it, slowly if it should, also in the background. Repair makes a store that opens of a damaged one and lists what is lost
// (package salvage). Metrics are figures, Options.Events tells what happens as it happens: through a queue, so that
// the store waits for no listener. Profiles are options for a purpose. Package inspect shows what is in a file. docs/engine.md
// is about running all this.
//
// # Files
//
//	LOCK          held while the store is open
//	MANIFEST      the state: docs/formats/manifest.md
//	000012.table  a table: docs/formats/table.md
//	000001.log    a segment of the log, while the store is open or after a crash: docs/formats/wal.md
//	repair, lost  directories: a repair on its way, and what one has replaced
//
// # Goroutines
//
//   - flushLoop, started by Open, stopped and awaited by Close: writes sealed memtables.
//   - compactLoop, likewise: picks compactions, and removes files that no reader needs any more. Each compaction has a goroutine of
//     its own, which the loop starts and awaits; no more than Options.CompactionCount.
//   - syncLoop, likewise, with LogInterval: syncs the log.
//   - scrubLoop, likewise, with Options.ScrubBytesPerSecond: has the store read once in Options.ScrubInterval, by a goroutine for each scrub,
//     which it awaits.
//   - eventLoop, with Options.Events: hands events out. It ends last, after what the other loops told.
//   - expireLoop, likewise, with Options.Clock: wakes the compaction once a minute.
//
// Snapshots and iterators have none, and neither has the log: its callers lead in turns.
//
// # Several stores in one process
//
// Stores that are given the same Runtime share its budgets: one cache of blocks that knows whose they are, equal parts of one budget
// for caches of rows, one bound for all memtables, compactions that take turns, and a rate for what compactions write. A
// writer that meets the bound of memory seals the largest memtable, whosever it is, and beyond it goes on as flushes do
// (package budget). Without one, a store has a Runtime of its own, with the caches of its Options and no other bounds.
//
// # Locks
//
// Order: families.change, DB.write, DB.install, DB.mu; families.mu, snapshots.mu, the cache's and the log's are leaves, too. DB.write is
// held by Apply while it waits for room, and while the log makes some; it is not held while Apply waits for its batch to be
// written and synced. DB.install is held over the I/O of the manifest. The row cache's publishing comes after DB.write and before
// DB.mu. Readers take none. The lock DB.write of another
// store of a Runtime is only tried. The lock of a Runtime's caches (sharing.go) comes before the row cache's publishing, and no lock of a
// store is held when it is taken; readers who missed, whatever they hold, only try both.
//
// # Invariants
//
//   - E1: a manifest's position, horizon, last sequence and last version are those after exactly
//     the batches whose rows are in its tables; with Options.Clock the horizon's expiry may be a later time.
//   - E2: a reader takes the view first and what is applied second, so every row that it may see
//     is in its view, or the batch is not seen at all because a later memtable has all of it.
//   - E3: a file is removed only when no manifest names it and no view holds it.
//   - E4: rows are dropped by a durable horizon only, so that what the caller applies again after
//     a crash finds the same rows as the first time.
//   - E5: after the first failure nothing more is installed, and every error is that failure.
//   - E6: a directory that held a store is never opened as an empty one.
//   - E7: what Open finds is durable before it is told to anyone and before a file is removed: the process before may have died
//     between giving a manifest its name and syncing the directory.
//   - E8: a batch is visible only when the log has it as the mode promises, and only what is visible is sealed.
//   - E9: when a transaction's batch is taken, no batch taken since its snapshot has a row that it depends on.
//   - E10: a row that is in the row cache is the newest visible one of its key: never one that is not visible yet, and none that was
//     replaced or deleted.
package engine
