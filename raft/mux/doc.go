// Package mux carries the messages of all Raft groups between nodes: a Mux per node, a Transport,
// which is hashicorp/raft's, per replica on it.
//
// It knows groups by number and replicas by id, "<node>#<incarnation>", and nothing of logs, state
// machines or elections: what it must know of a replica it asks its Owner.
//
// # The life of an append
//
//  1. The library's replicator calls pipeline.AppendEntries, which encodes the request into the batch
//     that waits for the stream of the lane and the node.
//  2. link.send wakes and gives the batches that are full or last to gRPC, which writes and frees them.
//  3. The peer's receiver verifies the batch and puts each request into the queue of its group's
//     library, with a copy of what the log keeps. The batch's buffer is used again.
//  4. The library's main loop stores and answers; replyLoop encodes the answer into the batch
//     that waits for the stream that the request came on, or leaves it to the log's writer, which does so
//     after its sync (gate.go); Exchange gives it to gRPC.
//  5. link.receive finds the call by its sequence number; the pipeline decodes the answer where it is and
//     hands the future to the library's decoder, or has the writer of the own log do so after its sync.
//
// Seven wake-ups of goroutines that are ours or the library's, four of gRPC's: link.send, receiver, main
// loop, replyLoop, Exchange, link.receive, decoder; a writer and a reader of a connection each way.
//
// Heartbeats (beat.go), empty appends that say nothing (Transport.knows) and probes (probe.go) travel
// for all groups of a node together. A snapshot has a stream of its own (install.go).
//
// # Who owns bytes
//
// A batch that waits belongs to the queue that it is in, and to gRPC from SendMsg on. A received batch
// belongs to the goroutine that received it until it calls free; frames, payloads and what a receiver is
// given alias it. What outlives it is copied: entries and ids into the request, answers into what waits.
//
// # Goroutines
//
//   - replyLoop, per Transport: ends at its Close.
//   - link.loop, per node and lane, with two per stream; prober.loop while probes wait; a receiver
//     per incoming stream: end at Mux.Close.
//   - Timers run flushAsked and flushResting, beatCall.giveUp, beatWatch.look and the watch of a pipeline. They end by
//     themselves, within a heartbeat timeout, maxBeatWait or appendTimeout, and block on nothing that
//     Mux.Close does not end.
//
// # Locks
//
// Every mutex is a leaf but beatCall.mu and pipeline.mu, under which channels with room are sent to,
// and gate.mu, under which the Owner is asked how far its log is durable.
//
// # Invariants
//
//   - RM1: a message reaches the replica that it names or none; a replica that is not here is answered
//     for with an error.
//   - RM2: no message of one group can block another's: queues are bounded, and what does not fit
//     is refused or dropped.
//   - RM3: what arrives from a peer is used only after its CRC32C was checked. What fails ends the
//     stream.
//   - RM4: a follower takes an entry for committed only if a message of the leader reached that far.
//   - RM5: heartbeats go to the library's main loop like every other request, never beside it. At most
//     one of a leader and a term waits there.
//   - RM6: a pipeline is dead after the first error or answer other than yes, and no call on a dead
//     one waits.
//   - RM7: the answer to a probe was given after the probe was asked for.
//   - RM8: an empty append is left out only if the follower has said, in the same term, that it knows a
//     commit index that is no lower.
//   - RM9: a snapshot is made by who leads in the term that announces it, and holds what was committed under that term
//     or before, so it is put in place in whatever term it arrives. What a
//     receiver has applied it tells only to a leader of its own term or a later one: the log of an older
//     one may have another entry there, which would be counted as held by both.
//   - RM10: a follower's yes to entries leaves its node, and is handed to the leader's library, only when
//     the log of that node is durable through the last of them.
//   - RM11: a heartbeat is sent without the library only in a term in which this replica leads and its log gets
//     written, and the follower answered the one before with a yes in that term, of which the library is told.
//   - RM12: who leads in the term of a replica, or in a later one, has all entries of the replica's durable state:
//     they were committed under that term or before. So a request that begins among them is taken for one that
//     begins behind them, and a yes to it is true.
//   - RM13: a candidate that takes a snapshot in becomes a follower of the leader that it came from.
package mux
