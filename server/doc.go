// Package server is the one implementation of every operation: it checks limits, finds the
// shard of a key, runs the operation where the shard's leader is, and retries until the answer
// is certain or the caller's time is over.
//
// It is not a front end: it knows no protocol of clients. The front ends rpc, resp and http
// only translate. It decides no outcome either: conditions, ownership and request ids are
// decided by the shard's apply.
//
// # The life of a turn
//
// A turn is what one client has sent at once: one request, or a pipeline.
//
//  1. Run checks the limits and enters the gate once for the turn.
//  2. Each request goes to the lane of its shard. Lanes run side by side; one with keys on several
//     shards waits for all before it and runs alone.
//  3. A lane takes the first requests that only read as one read, then the first that write as one
//     list, and so on, each after the one before it. So a request sees what those before it did.
//  4. Writes get a request id each and go to the leader in one call. Whatever is to be sent again
//     keeps its place and its id, because a shard executes nothing behind what it has refused.
//  5. A read whose values are too large to be held with the others is left undone with what is behind it
//     in its lane; the caller sends what it has and runs these one by one.
//
// Requests under a context of Shared have no timer and no context of their own: those that begin
// within 50 ms of each other share them.
//
// # The life of a write
//
//  1. Apply checks the limits (checkBatch) and gives a write without a request id one of its own; Run
//     does so for each write of a turn.
//  2. route, or writeRun for a turn, looks up the shard of the slot and picks a node: the leader if it
//     is known, else a replica, this node first.
//  3. On this node the shard is called; on another one the commands are sent by peerv1.Forward, in
//     one message with what others have for that shard (forwardqueue.go).
//     A forwarded request is never forwarded again: a node that does not lead says so.
//  4. attempts.next decides what an error means: try elsewhere, wait for a newer map, or give up.
//     Every try carries the same request id, so the write runs at most once.
//  5. When the time is over, a write that may have run is UNKNOWN_OUTCOME and one that
//     certainly did not is UNAVAILABLE or DEADLINE_PASSED.
//
// A read goes the same way without an id. What all callers read at another node goes by one stream
// (forwardreads.go): what waits is sent together, those of one shard are one read there, and each is
// answered as soon as its shard is done (forwardanswers.go), so that none waits for another shard. An
// answer over 1 MiB is asked for again by a call of its own.
//
// A read that allows a stale answer goes to the replica on this node first, then to the others; each
// answers if it can prove to be fresh enough, for which it may ask the leader. When none can, the leader
// answers as if nothing had been allowed.
//
// # The life of a large value
//
//  1. PutValue takes it from its source part by part and stages these, some at a time, on the shard; so does
//     Apply with the large values of a long batch. Then the batch goes the way of a write and names them.
//  2. A read finds where such a value is. It is brought only if it is asked for, and in one piece only up to
//     api.MaxWholeBytes.
//  3. OpenValue leaves it to be read a mebibyte after the other, each from any replica that has it, as of the time
//     of the read.
//
// Scan merges pages from all shards in key order and fetches each when it is needed.
//
// # Goroutines
//
// Reads and writes of several shards at once start one goroutine per shard, turns one per shard
// beside the first, and wait for all of them before they return. Carriers, maxForwardMessages of them
// for each shard on another node that something is sent to, end when nothing waits. A stream of reads has
// readStream.sendLoop and recvLoop, from the first read to a node until the stream breaks or is replaced;
// the node that answers has visitor.readLoop and one goroutine for each shard that is read. Close waits
// for every operation, every carrier and all of these.
// A forwarded call that takes long has a timer that looks whether the leader moved; the call's end
// stops it. The time of a window of Shared runs in a timer that ends with it.
//
// # Locks
//
// readForwarder.mu is taken before readStream.mu. gate.mu, forwarder.mu, readStream.mu,
// cursorTable.mu, jitter.mu and sharedContext.opening are leaves; visitor.mu is taken before gate.mu.
//
// # Invariants
//
//   - V1: all tries of one write carry one request id.
//   - V2: an error whose outcome is NotExecuted is returned for a write only if no try of it may
//     have run.
//   - V3: a forwarded request is answered by the node that received it or refused, never forwarded.
//   - V4: what is over a limit is refused before anything is sent. The values of reads under way are
//     counted as they come: beyond a quarter of Options.MaxInFlightBytes together a read is refused, but
//     for its first 64 KiB. A long answer of another node is taken in only once it has room. A value that is
//     read or written piece by piece holds a fixed number of bytes, whatever its length.
//   - V5: a scan yields keys in strictly ascending (reverse: descending) order, each once.
//   - V6: of the requests of a turn on one shard none is sent before those ahead of it have their answers
//     or are sent with it, in their order.
//   - V7: a turn counts as one request at the gate; its further writes take only what single requests
//     leave, and are not refused for want of it.
//   - V8: the reads of a turn of several requests hold at most 64 KiB of values together when it ends.
//   - V9: what another node reads here and does not take, requests and answers, is bounded; every forwarded
//     read gets one answer, or its stream ends.
package server
