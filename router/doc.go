// Package router maps keys to shards: the slot function, the table of arcs, and a cache of who
// leads which shard. Servers and clients route with the same code.
//
// It is not a client: it opens no connection, asks nobody, and never decides whether a map is
// right. A wrong route is harmless, because every shard checks arc and epoch in apply.
//
// # The life of a route
//
//  1. Slot hashes the user key, or the part of it between the first { and the next }.
//  2. Table.ShardOf finds the arc that holds the slot, by one array lookup.
//  3. Router.Leader names the node to try first; a refusal carries a better hint, which the
//     caller gives back by SetLeader, or by Update when its map was too old.
//
// # Goroutines
//
// None.
//
// # Locks
//
// Router.leaders.Mutex is a leaf. Tables are immutable and read through an atomic pointer.
//
// # Invariants
//
//   - T1: the arcs of a Table tile the slots: each slot belongs to exactly one shard.
//   - T2: the revision of the table that a Router serves never goes down.
package router
