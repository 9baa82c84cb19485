// Package planner decides what the master does next: a pure function from a view of the cluster to
// steps, each with its reason, and what stands in the way of others.
//
// It is not the executor: it asks nobody, waits for nothing and remembers nothing. Where replicas go
// is package placement's; here is what may be done when, so that no shard loses its quorum.
//
// # The life of a plan
//
//  1. The master makes a View of the map, of what the leaders of shards report, and of who is alive.
//  2. newPlanning finds out what each shard needs and where its replicas will be when what was begun is
//     finished. Package placement gets a layout of that, so that what is under way counts as done.
//  3. gate blocks shards in which nothing can be changed: without a quorum, a leader or a fresh report.
//  4. finish and shed bring on what was begun. A learner that has caught up is promoted and the old voter
//     removed; a voter that is not alive is removed first, because one more would raise the quorum. One that
//     is gone from a living node is removed without a successor if no other node is free: its node gets the new one.
//  5. Leaderships leave nodes that drain. Then new replicas are begun, as many as limits allow: for shards
//     with too few, for dead nodes, for nodes that are to leave, for crowded zones, for balance.
//  6. The largest shard that is too large is split, and leaders are spread over healthy shards.
//  7. The master carries out all steps side by side, looks at the cluster again, and asks for the next
//     plan. A step is one change of Raft, so whoever is master next sees how far it came.
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
//   - PN1: a plan has at most one step for a shard, and none for a shard that is busy, whose leader is
//     unknown or whose report is not fresh.
//   - PN2: no step leaves a shard with fewer voters than the quorum of the size it should have, or with
//     less than a majority of healthy voters.
//   - PN3: only nodes that are dead beyond the limit or lost are replaced, and replicas that are gone for as long from
//     living nodes, of one failure domain at a time, and none while fewer than half of the nodes are alive.
//   - PN4: a shard whose change was begun finishes or cancels it before it begins another.
//   - PN5: replicas that are made at once stay within the limits, of each node and of all.
//   - PN6: while nothing else changes, plans come to an end, and then nodes are within the bounds of
//     placement in replicas and in leaders.
//   - PN7: only a shard that is whole and too large, and for whose halves all of its nodes have room, is split, one at a time
//     in a cluster, and not again before the sizes of the halves are known. The members of a shard stay until its split is done.
package planner
