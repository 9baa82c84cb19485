// Package placement decides where the replicas of a new cluster go: pure functions from a list of
// nodes to arcs, replicas and meta voters.
//
// It is not the planner that moves replicas of a living cluster, and it knows no load, zones or
// weights yet: it runs once, when a cluster forms.
//
// # The life of a placement
//
//  1. Arcs cuts the 16384 slots into K arcs of equal size.
//  2. Each shard in turn takes its replicas by rendezvous hashing (Thaler and Ravishankar, 1998):
//     each node has a fixed random weight for each shard, and the heaviest win. Load is bounded as
//     tightly as it can be: only the nodes with the fewest replicas so far compete.
//  3. One replica of each shard becomes its first, the one that is expected to lead. A bipartite
//     matching spreads them, trying heavier nodes first.
//
// # Goroutines
//
// None.
//
// # Locks
//
// None.
//
// # Invariants
//
//   - L1: equal sets of nodes, in any order, give equal placements, on every machine and version:
//     weights are fixed and goldens hold them.
//   - L2: the arcs tile the slots, and their sizes differ by at most one.
//   - L3: a shard has min(3, nodes) replicas on distinct nodes.
//   - L4: the numbers of replicas that two nodes hold differ by at most one, and so do the numbers of
//     first replicas.
package placement
