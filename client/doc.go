// Package client is the Go SDK of a Lightning cluster: api.KV over gRPC, from any program that
// can reach the nodes.
//
// It is not a server and holds no data: it caches nothing but the cluster map and hints about who
// leads. A wrong hint costs a hop, never a wrong answer, because shards check everything.
//
// The life of a write:
//
//  1. Apply refuses what can never succeed, and takes a request id, unless the caller brought one.
//  2. The router turns the first key into a slot, a shard and the node that is said to lead it.
//     Without a map or a hint any node will do: it forwards.
//  3. An attempt is made there, for no longer than AttemptTimeout. An answer ends the call.
//  4. judge says what an error means: may the write have run, does a retry help, is the node well.
//  5. learn keeps what the error taught: a better leader, a node to avoid, a map to fetch.
//  6. After a pause the next attempt goes to the best node left, under the same request id, until
//     the context ends. Then the error says "unknown" if some attempt may have run, and otherwise
//     that nothing was executed and why.
//
// A read is the same without a request id and without unknown outcomes. A scan is a read for each
// page: a stream that breaks is opened again elsewhere, after the last key received.
//
// # Goroutines
//
//   - followLoop: started by New, stopped and waited for by Close. It keeps the cluster map fresh.
//   - the workers of one MultiGet: started and waited for by it.
//   - gRPC's own, one set per connection: ended when Close closes the connections.
//
// # Locks
//
// Client.mu, connections.mu and follower.mu are leaves.
//
// # Invariants
//
//   - K1: a write is reported as not executed only if every attempt either never left this process
//     or was answered by a node that it did not execute.
//   - K2: the answer to one attempt decides the call only if it holds for all attempts.
//   - K3: all attempts of a call carry the same request id, and no other call does unless the
//     caller asked for it; an id that Apply took itself is released when Apply returns, not before.
//   - K4: a scan yields each key at most once and in order, over any number of streams.
package client
