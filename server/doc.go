// Package server is the one implementation of every operation: it checks limits, finds the
// shard of a key, runs the operation where the shard's leader is, and retries until the answer
// is certain or the caller's time is over.
//
// It is not a front end: it knows no protocol of clients. The front ends rpc, resp and http
// only translate. It decides no outcome either: conditions, ownership and request ids are
// decided by the shard's apply.
//
// # The life of a write
//
//  1. Apply checks the limits (checkBatch) and gives a write without a request id one of its own.
//  2. route looks up the shard of the slot and picks a node: the leader if it is known, else a
//     replica, this node first.
//  3. On this node the shard is called; on another one the command is sent by peerv1.Forward.
//     A forwarded request is never forwarded again: a node that does not lead says so.
//  4. attempts.next decides what an error means: try elsewhere, wait for a newer map, or give up.
//     Every try carries the same request id, so the write runs at most once.
//  5. When the time is over, a write that may have run is UNKNOWN_OUTCOME and one that
//     certainly did not is UNAVAILABLE or DEADLINE_PASSED.
//
// A read goes the same way without an id. One that allows a stale answer goes to the replica on
// this node first, then to the others; each answers if it can prove to be fresh enough, for
// which it may ask the leader. When none can, the leader answers as if nothing had been allowed.
//
// Scan merges pages from all shards in key order and fetches each when it is needed.
//
// # Goroutines
//
// Reads and writes of several shards at once start one goroutine per shard and wait for all of
// them before they return. Close waits for every operation. A forwarded call that takes long
// has a timer that looks whether the leader moved; the call's end stops it.
//
// # Locks
//
// gate.mu, cursorTable.mu and jitter.mu are leaves.
//
// # Invariants
//
//   - V1: all tries of one write carry one request id.
//   - V2: an error whose outcome is NotExecuted is returned for a write only if no try of it may
//     have run.
//   - V3: a forwarded request is answered by the node that received it or refused, never forwarded.
//   - V4: what is over a limit is refused before anything is sent. The values of reads under way are
//     counted as they come: beyond a quarter of Options.MaxInFlightBytes together a read is refused, but
//     for its first 64 KiB. A long answer of another node is taken in only once it has room.
//   - V5: a scan yields keys in strictly ascending (reverse: descending) order, each once.
package server
