// Package shard is the replicated state machine of one shard: commands, apply, reads, request
// ids, and the replica that joins them to an engine and a Raft group.
//
// It is not a router and not a front end: it refuses what is not its own, and forwards nothing.
// It trusts nothing that was checked before the proposal: whatever decides an outcome is decided
// in apply, from the entry and the state alone.
//
// # The life of a write
//
//  1. Shard.Begin checks the commands' form and encodes them, in their order, into the entry that
//     the proposer is packing.
//  2. proposer.loop stamps an entry with shard time and its place in a run, and hands it to Raft.
//     At most four entries are in flight, and one more of parts of values.
//  3. A majority has the entry on disk; every replica's Machine.Apply gets it.
//  4. The machine checks epoch, slots, request id and deadline, evaluates the operations against
//     the engine and the run's own earlier writes, and gathers what changes in one engine batch,
//     which also carries the position, the membership and the state row.
//  5. The engine publishes the batch; each caller gets the answers of all its commands at once.
//
// A command is proposed, or refused before that: when too many wait already, by number, bytes or
// age, and when its own deadline passes while it waits. What an entry of a run that was refused
// leaves behind is refused in apply (S9), and callers send it again.
//
// # The life of a large value
//
// A batch of more than api.MaxInlineBytes has its large values brought by commands of their own,
// under its request id; the parts are rows that nobody reads. The batch itself names them, and all of
// its checks are made when it is applied: then the rows of its keys name the parts (package parts). A read
// answers where such a value is; ReadParts reads it, as of the time of that read, on any replica.
//
// # The life of a read
//
//  1. Raft confirms that this replica still leads and has applied what was committed.
//  2. The clock gives a time T below every entry that is not applied, and will not go back.
//  3. One engine snapshot gives the state row, which is checked for epoch and slots, and the rows.
//  4. A row is there if its expiry is above T. If the wall clock says that it has expired but T
//     does not reach that far, a tick moves shard time first. A read that comes upon a row that
//     expired a moment ago begins a tick before the next one needs it, and does not wait.
//
// A batch that only reads is answered like this too, by the evaluation that apply uses. Among the
// writes of one caller it needs no confirmation: it is answered as of the version of the write
// before it, which this replica has just committed.
//
// # The life of a read by proof
//
// A read that need not be linearizable says how old its answer may be, and any replica serves it.
//
//  1. If the replica holds a proof that is young enough, it takes that. If not, it asks the
//     leader for one, once for all who wait, and notes its own clock before it asks.
//  2. The leader makes a proof like a read: it confirms that it leads, takes a time T, and adds
//     the index of what it has applied by then.
//  3. The replica waits until it has applied that index, and reads one snapshot at T or later.
//  4. It looks at its clock again: an answer whose proof has become too old is not given.
//
// # How replicas prove that they agree
//
//  1. Apply takes the effects of each entry into a running digest, which is in the state row.
//  2. The leader asks all voters for their digest after its newest entry, now and then.
//  3. Who differs from the majority is told, asks the voters itself, and fences itself: it leaves the
//     group. A leader that differs gives the leadership away first. Without a majority the leader takes
//     no writes.
//  4. Who is fenced fetches a checkpoint from another replica, has a majority confirm its digest, puts it
//     in the place of its engine, and opens again, with the log, the term and the votes that it had.
//
// # The life of a split
//
//  1. The map notes which slots go to which new shard; its master has the leader split the group (Shard.Split).
//  2. One entry does it, after which the parent refuses these slots and the epoch before. Each replica makes its
//     replica of the child there: a checkpoint of itself, with the child's state row and membership at this entry's
//     position, and then lets its node know, which opens it.
//  3. The child elects a leader, and the map lists it.
//  4. Ticks of both delete the rows of slots that are the other's (see foreign.go).
//
// # Goroutines
//
//   - proposer.loop: started by Open, stopped by Close; proposes. Answers come from a goroutine of
//     the Raft group.
//   - proofs.run: at most one, while a proof is fetched; started by a read that waits for it,
//     ended by Close.
//   - Shard.upkeepLoop: started by Open, stopped by Close; ticks on an idle leader, and compares the
//     replicas, with a goroutine for each that is asked.
//
// Machine starts none. Raft calls it from goroutines of its own.
//
// # Locks
//
// proposer.mu, hybridClock.mu, steadyClock.mu, proofs.mu and digests.mu are leaves: nothing is locked and no
// I/O is done while one of them is held.
//
// # Invariants
//
//   - S1: what apply does to an entry depends on the log up to it alone: not on how entries were
//     grouped, on restarts, on flushes, on compaction, or on this machine's clock.
//   - S2: versions of one shard strictly increase, over commands, entries and leaders.
//   - S3: shard time never goes back: a key that one read or write found expired is not found
//     alive again, unless it was written again, but by a read that may be older.
//   - S4: under one request id a command is executed at most once.
//   - S5: a write is applied, and a read answered, only for slots in the arc and at the epoch that
//     the state has at that point of the log.
//   - S6: everything that apply reads or writes is in the engine, in one batch with its position.
//   - S7: after a crash at any point of Install, either the old or the new state is there, whole.
//   - S8: an answer by proof includes every write that was acknowledged its bound before it was
//     read. No clocks of two nodes are compared for it.
//   - S9: of the entries of one run, which a proposer numbers without a gap, those are executed that
//     come in order, from the first on; behind one that was refused none is.
//   - S10: a replica whose digest differs from that of more than half of the voters is fenced once
//     the leader finds out, and one that is fenced does not serve, vote or lead until it was
//     rebuilt. Apply fences nobody.
//   - S11: a split is one entry: before it every slot is the parent's, after it each is in exactly one of the two, which
//     both have all that the parent held of it.
//   - S12: when a replica holds durably that it was split, its replica of the child is there durably, if it was to make
//     one; and it makes none that was here before or is discarded.
//   - S13: a child uses no time that its parent may have used.
//   - S14: rows of slots that are not the shard's are never read, and ticks delete them as if commands did.
//   - S20: no entry is of a newer version than the cluster's map allows when it is proposed, and a replica stops at one that its
//     build does not know.
package shard
