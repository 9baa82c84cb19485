// Package lightningtest gives a test a real cluster: the nodes of the product, in the test's own
// process, with real logs, files and sockets on loopback.
//
//	func TestMine(t *testing.T) {
//		cluster := lightningtest.Start(t, 3)
//		db := cluster.Client(t)
//		// ... use db, and break things: cluster.KillNode(cluster.Leader(key))
//	}
//
// It is not a simulation: time is real, a cluster takes about two seconds to start, and the order
// of events differs from run to run. Nothing but tests should import it, because it contains the whole
// server. For tests that need no faults and no other protocol than package client's, an embedded
// store (client.Embedded) is a thousand times quicker to make.
//
// The life of a cluster:
//
//  1. StartWith chooses free ports below those that the system gives to outgoing connections, so
//     that a node that is stopped finds its own again. If somebody else was quicker, it chooses anew.
//  2. Every node runs as lightning-node start would run it, with its data in the test's temporary
//     directory. They find each other, form a cluster, and elect leaders.
//  3. StartWith returns when every node says that it is ready.
//  4. When the test ends the nodes are stopped; if it has failed, the ends of their logs are printed.
//
// Tests may run in parallel, each with a cluster of its own; on a small machine let each start
// before the next, or elections take longer.
//
// # Goroutines
//
// One for each node that runs, and the node's own. They end before the test does.
//
// # Locks
//
// node.mu and tail.mu are leaves.
package lightningtest
