// Package fakecluster is a cluster without replication for the tests of those who talk to one:
// several nodes in one process, over pipes, with one map in memory behind them, whose calls a
// test can refuse, delay, or execute and then lose the reply of.
//
// It is not a model of the shard: batches mean what package evaluate says, and request ids are
// kept for ever, but there is no Raft, no disk, no replica that lags, and a batch may have keys of
// several shards. Nothing but tests imports it.
//
// The life of a call:
//
//  1. A dialed pipe reaches the node's gRPC server, unless the node is stopped.
//  2. The node's Intercept, if a test has set one, sees the call and decides whether and when it
//     goes on.
//  3. The call runs under the cluster's lock. A write under a known request id returns the first
//     answer; a node that does not lead forwards, that is executes, or refuses with a hint when
//     Redirect is set.
//
// # Goroutines
//
// Each started node has its gRPC server's; Stop and Close wait for them.
//
// # Locks
//
// Cluster.mu is a leaf. Intercept runs without it.
//
// # Invariants
//
//   - J1: a write under one request id runs at most once.
package fakecluster
