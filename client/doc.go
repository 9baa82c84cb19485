// Package client is the Go SDK: api.KV over a Lightning cluster, from any program that can reach
// its nodes, and over an engine in the program itself.
//
// It is not a server. A Client caches nothing but the cluster map and hints about who leads; a
// wrong hint costs a hop, never a wrong answer, because shards check everything.
//
// # Reading and writing
//
// New makes a Client; any one node's address will do, the others are learned from it. Get,
// MultiGet and Scan read; Put, Delete, Increment and CompareAndSwap write one key; Apply writes a
// batch of any operations on keys of one shard ({hash tags} keep keys together), atomically and
// under conditions. Every read and write of a key is linearizable. The functions of the same names
// do the same on any api.KV, so that code which takes the interface needs no Client.
//
// The context's deadline bounds a call with all its retries; without one Options.DefaultTimeout
// does. Errors are *api.Error: compare them with errors.Is and the sentinels of package api, whose
// table says what each means.
//
// # Long values
//
// A value has up to 64 MiB. From api.MaxMessageValueBytes on it goes in chunks with running checksums, which is no
// concern of those who put and get bytes. PutFrom and GetTo take it from a reader and give it to a writer, and
// have a few chunks of it in memory.
//
// # When a write's outcome is unknown
//
// Every write carries a request id, under which it runs at most once, so the client repeats it by
// itself as long as there is time. If the time ends while an attempt has no answer, the error
// matches api.ErrUnknownOutcome: the write may have run, or may still. Who must know takes an id
// by NewRequest first, puts it into the batch, and calls Apply under it until there is an answer.
//
// # Reads of a bounded age
//
// Stale gives a reader whose answers may be up to a bound old. Any replica serves them without
// asking the leader each time, so they are cheaper, nearer, and spread over all nodes.
//
// # Metrics
//
// Options.Observe is told of every call: its code, duration, attempts and redirects.
//
// # In the same process
//
// Embedded is the same interface on a package engine's store, for programs that need no cluster, or not
// yet. Package lightningtest starts a real cluster inside a test.
//
// # The life of a write
//
//  1. Apply refuses what can never succeed, and takes a request id, unless the caller brought one.
//  2. The router turns the first key into a slot, a shard and the node that is said to lead it.
//     Without a map or a hint any node will do: it forwards.
//  3. An attempt is made there, for no longer than AttemptTimeout. An answer ends the call. The attempt
//     is a message of its own that waits in the queue of the stream to that node (stream.go); what
//     waits is sent together, and an answer wakes the caller it is for. What is long goes beside the
//     stream, as a gRPC call, and so does everything to a node that knows no streams. When a stream
//     breaks, each call that was sent without an answer is an attempt that may have run.
//  4. judge says what an error means: may the write have run, does a retry help, is the node well.
//  5. learn keeps what the error taught: a better leader, a node to avoid, a map to fetch.
//  6. After a pause the next attempt goes to the best node left, under the same request id, until
//     the context ends. Then the error says "unknown" if some attempt may have run, and otherwise
//     that nothing was executed and why.
//
// A write whose values are long is an upload: each attempt sends them from their beginning, and lasts as long as
// chunks move. A value that is too long for the answer of a read comes by a download (download.go).
//
// A read is the same without a request id and without unknown outcomes. A MultiGet is a read for
// each leader, in parallel. A scan is a read for each page: a stream that breaks is opened again
// elsewhere, where it was. A stale read goes to a replica of the shard, one that is well and not
// slow, the next one with every call.
//
// # Goroutines
//
//   - followLoop: started by New, stopped and waited for by Close. It keeps the cluster map fresh.
//   - stream.sendLoop and stream.recvLoop, for each node in use: started by the first call to it,
//     ended when the stream breaks or is replaced, waited for when the connection is closed.
//   - the workers of one MultiGet: started and waited for by it.
//   - embedded.flushLoop: started by Embedded with a FlushInterval, stopped and waited for by Close.
//   - gRPC's own, one set per connection: ended when Close closes the connections.
//
// # Locks
//
// gate.mu, connections.mu, stream.mu, follower.mu and embedded.time are leaves. connection.mu is taken
// before stream.mu. embedded.write and
// embedded.flush are held while the engine works; neither is taken while the other is held.
//
// # Invariants
//
//   - K1: a write is reported as not executed only if every attempt either never left this process
//     or was answered by a node that it did not execute, or had not sent the last chunk of its values.
//   - K2: the answer to one attempt decides the call only if it holds for all attempts.
//   - K3: all attempts of a call carry the same request id, and no other call does unless the
//     caller asked for it; an id that Apply took itself is released when Apply returns, not before.
//   - K4: a scan yields each key at most once and in order, over any number of streams.
//   - K5: the time of an embedded store never goes back: versions increase, and what was seen
//     expired stays so until it is written again.
//   - K6: under one request id an embedded store runs a batch at most once; what it cannot
//     remember it refuses.
//   - K7: a call on a stream gets one outcome, whatever becomes of the others on it, and its bytes are
//     the caller's again when it ends.
package client
