// Package pledge lets N strangers agree, once, who forms a cluster.
//
// It is not consensus and does not try to be available: it takes every one of the N, and where
// two groups of strangers overlap neither forms, which a person has to resolve. What it buys is
// that there are never two clusters, whatever is lost, delayed, repeated or restarted. After that
// once, Raft decides everything.
//
// # The life of a cluster's beginning
//
//  1. N empty nodes, each started with --bootstrap-expect N, find each other by gossip, which is
//     advice. More than N: nobody proposes, everybody says so in the log.
//  2. The node with the lowest id asks all others what they hold. If all are empty it makes a
//     random cluster id, and pledges: it writes {cluster id, the N node ids, shards} to its own
//     disk first.
//  3. Every pledged node proposes its pledge to the other N-1, again and again. An empty node
//     takes the first that names it, fsyncs, and answers. A pledged one answers with what it holds.
//  4. A node that has seen all N hold its own pledge, or one of the N belong to the cluster,
//     records the cluster and starts the meta group.
//
// An empty node that meets a member of a formed cluster joins it instead. A pledged node may do so
// only with proof that its pledge will never form: one of the N belongs to another cluster.
//
// A crash at any point leaves nothing, a pledge, or a pledge and a cluster; each is where a restart
// goes on. A node that lost its disk is another node, since the id is lost with it.
//
// # Goroutines
//
//   - Form runs on its caller's goroutine; each round starts one goroutine per node asked and waits
//     for all of them.
//
// # Locks
//
//   - Store.mu is a leaf, held during the one write of a file (see there).
//
// # Invariants
//
//   - B1: a node takes at most one pledge, for ever, and never one after it belongs to a cluster.
//   - B2: what a node answers is durable before it answers, and stays true for ever.
//   - B3: a cluster is recorded only after all of its founders held its pledge. With B1, of two
//     pledges that share a node at most one becomes a cluster.
//   - B4: a node with a cluster returns from Form at once, with that cluster.
package pledge
