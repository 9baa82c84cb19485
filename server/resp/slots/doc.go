// Package slots tells the cluster map the way Redis Cluster tells its own, for clients that ask
// where the slots are.
//
// It is not a router and decides nothing: it is a picture of what one node believes.
//
// # The life of a shape
//
//  1. New takes the map, the leaders and who is alive, and names each node by an id of Redis'
//     form, made of its own.
//  2. Each shard becomes a range of slots with its leader first. Where no leader is known a node
//     that forwards stands in, so that no slot is without a node (UT1).
//  3. A node that leads nothing becomes the replica of a leader whose shard it holds.
//
// # Goroutines, locks
//
// None. A Shape does not change.
//
// # Invariants
//
//   - UT1: if this node or a replica of every shard has a listener for cluster clients, the
//     ranges cover every slot of the map.
package slots
