// Package raft runs many hashicorp/raft groups on one node: a Host per node, a Group per
// replica, a StateMachine under each, given by the caller.
//
// It is not a consensus algorithm, which is hashicorp/raft's, and it does not know what it
// replicates. It is what that library needs around it: a transport that many groups share (package
// raft/mux), a log behind a seam, snapshots of a state machine that is persistent by itself, reads that are
// linearizable, and guards for the places where the library is known to be wrong. No other
// package of the module imports the library.
//
// # The life of a proposal
//
//  1. Group.Propose gives it to the library, if the leader is ready.
//  2. The library's main loop stores it in the log, through guardedLog, which syncs it meanwhile (see writes.go).
//  3. A pipeline per follower carries it in AppendEntries to the peer's mux.
//  4. The follower's main loop stores it and answers. The answer leaves when the follower's log is synced, and
//     is taken in when the leader's is.
//  5. The leader counts a majority; applier gives the entry to the state machine, once.
//  6. completeLoop hands the machine's result to whoever proposed.
//
// # The life of a read
//
//  1. Group.ReadIndex joins the reads that wait for the next round, which share one channel.
//  2. readLoop notes the commit index and asks the other voters, one frame per node for all
//     groups, whether they have not gone beyond the leader's term (see readindex.go).
//  3. A majority says so, the leader still leads, the commit index is applied: the caller reads.
//
// # The life of a snapshot
//
//  1. A follower needs entries that are cut; the library opens the durable snapshot.
//  2. When the follower is connected, this node has a turn to send and the follower's one to install, the
//     state machine writes a checkpoint, which is streamed, compressed, on the Bulk lane, at a bounded rate
//     (see raft/mux/snapshot.go).
//  3. The follower receives it whole into a staging directory and verifies every file; its main
//     loop knows nothing of it yet and answers heartbeats.
//  4. The library is told of a snapshot of no bytes, which stands for the staged one; the state
//     machine switches to it atomically, and the library continues after it.
//  5. The leader's log keeps what the follower lacks until it has caught up (see catchup.go), unless the log
//     exceeds its limit by more than the snapshot is large.
//
// # What is cut from a log
//
//  1. From time to time, or when it has grown by as much as it may keep, the library has the state machine
//     flushed and cuts the log up to there.
//  2. guardedLog keeps a tail for followers that were away for a moment, bounded by entries, bytes and a share
//     of the node's (see reclaim.go), and what pins keep.
//  3. If the node's storage is full all the same, the group that holds its oldest part cuts its tail as well.
//
// # The life of a leadership
//
//  1. The preferred replica of a group that has just been started stands before the others do (see silence.go).
//     The library says that an election is won; leadLoop asks the voters for their clocks, and goes
//     on if a majority agrees with this node's (see clockcheck.go).
//  2. It proposes a tick of the state machine's. When it is applied, the replica is ready.
//  3. Every two seconds it asks for the clocks again. If its own is off it is not ready any more and
//     gives the leadership away.
//  4. A leader that is not the group's preferred one gives the leadership to that one when it has been
//     fit for some seconds (see spread.go). A node that stops gives all of its away (see transfer.go).
//  5. A leader whose log does not get written sends nothing, so that the others elect another (see
//     writes.go). Followers notice a silent leader by looks that the host counts (see silence.go); each
//     asks for pre-votes until the other has noticed as well.
//  6. A leader that has heard nobody for a lease steps down. If a majority is there after all and knows of no later
//     term, it stands for election again at once (see standagain.go).
//
// # The life of a member
//
//  1. The leader adds it as a learner: it gets a snapshot or entries, and does not count (see members.go).
//  2. When it has caught up, the leader makes it a voter.
//  3. The leader removes it. A leader that is to go gives its office away before.
//  4. Once the membership without it is committed, its node closes it and discards it (see discard.go).
//
// # Goroutines
//
//   - superviseLoop and readLoop, per Group: started by startGroup, end at Group.Close.
//   - completeLoop and leadLoop, per instance of the library: end at instance.close.
//     The library's own end there too, as do a check of clocks and a transfer of the leadership.
//   - Those of raft/mux: end at Host.Close.
//   - Host.watchLoop, per Host, and the call of HostOptions.OnFailure: Host.Close waits for them.
//   - Host.reclaimLoop, with a BoundedStorage: ends at Host.Close.
//
// # Locks
//
// Every mutex is a leaf but BoltStorage's, which is held while a file is opened or closed.
//
// # Invariants
//
//   - R1: a replica's identity is its node and incarnation, for votes, addresses and messages.
//   - R2: a term and a vote are durable before the answer that depends on them leaves the node.
//     The vote is one record.
//   - R3: the state machine gets every committed command and membership exactly once per run, in
//     order, and never one that it holds durably.
//   - R4: an entry is deleted from the front of the log only when the state machine holds it
//     durably, and from the end only when it does not.
//   - R5: after the first failed write or damaged record of its log, or the first error of its
//     state machine, a group writes, sends, votes, applies and acknowledges nothing.
//   - R6: a read index is confirmed by a majority of the voters, asked after the read arrived.
//   - R7: an error other than UNKNOWN_OUTCOME from a Proposal means that it is in no log.
//   - R9: what arrives from a peer or from disk is used only after its CRC32C was checked.
//   - R10: a follower takes an entry for committed only if a message of the leader reached that far.
//   - R11: a leader proposes its tick only after a majority of the voters, itself included, was found
//     to have clocks within HostOptions.MaxClockOffset of its own, and takes no proposal and confirms
//     no read from when a later check, one each clockInterval, finds otherwise.
//   - R12: what replicates for a term ends with the term's leadership, whichever changes of it were seen.
//   - R13: a leader that takes no proposals, because a transfer of its office is stuck, restarts the group.
//   - R14: what the library stored and did not wait for is commands at the end of the log of a group of several
//     voters, and a write of it that takes too long is noticed as any other.
//   - R15: a replica's term is no lower than the one under which the last entry of its state machine was committed,
//     wherever the state comes from: what leaders of its terms have said, or a snapshot or checkpoint of a replica that
//     was in no later term when it was made. So the leader of its term has all of these entries (RM12).
//   - R16: the membership that a replica works with is that of the last entry of its log that sets one: a snapshot
//     is put in place only behind the end of the log, or where the log is at odds with it and is cut before.
//   - R17: when a replica runs, its log reaches at least as far as the state machine's durable state, or is empty: one
//     that ends below a snapshot goes when that is put in place, or at the next start if a crash came between, nothing
//     below comes back, no earlier state takes the place of the one that has what went, and the library never
//     takes an earlier snapshot for the last one.
//   - R18: a change of the members is proposed for the committed membership that it was judged by, and for no other: a
//     learner votes only once it has caught up, enough voters remain, and a majority of those that there will be
//     answers. An order says what shall be, so that it can be given again.
//   - R19: a replica that holds nothing of its group is not elected, and does not vote unless it is known that it is a voter
//     and has lost nothing (GroupOptions.VotesEmpty). Only the founders of a group begin with its members; any other empty
//     replica waits for a leader.
//   - R20: a replica that was discarded never runs again: its log is forgotten durably before anything else of it is.
//   - R21: a replica that is founded with a state had no log, keeps its vote, and has a term no lower than the state's before
//     the state is there.
//   - R22: a replica stands for election without pre-votes only when it is told to by the leader, or when it led and a
//     majority, asked after that, was not beyond its term.
package raft
