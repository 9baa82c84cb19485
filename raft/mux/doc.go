// Package mux carries the messages of all Raft groups between nodes: a Mux per node, a Transport,
// which is hashicorp/raft's, per replica on it.
//
// It knows groups by number and replicas by id, "<node>#<incarnation>", and nothing of logs, state
// machines or elections: what it must know of a replica it asks its Owner.
//
// # The life of a request
//
//  1. The library calls a method of Transport, or of the pipeline that it opened to a follower.
//  2. The link of the lane and the node puts the frame into its queue; sendAll packs what waits.
//  3. The peer's mux verifies each frame and puts the request into the queue of the group's library.
//  4. The library answers; replyLoop gives the answer to the stream that the request came on.
//  5. The link finds the call that waits, by its sequence number, and completes it.
//
// A snapshot has a stream of its own; see install.go. A probe is answered by the mux itself.
//
// # Goroutines
//
//   - replyLoop, per Transport, and answerLoop, per pipeline: end at their Close.
//   - link.loop, per node and lane, with two per stream; prober.loop while probes wait; a receiver
//     per incoming stream: end at Mux.Close.
//
// # Locks
//
// Every mutex is a leaf.
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
//   - RM5: heartbeats go to the library's main loop like every other request, never beside it.
//   - RM6: a pipeline is dead after the first error or answer other than yes, and no call on a dead
//     one waits.
//   - RM7: the answer to a probe was given after the probe was asked for.
package mux
