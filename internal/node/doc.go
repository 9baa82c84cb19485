// Package node turns a Config into a running node: it opens the data directory, listens, joins
// the gossip, forms or finds the cluster, opens the replicas that the map gives to this node,
// and serves. It is wiring: every mechanism lives in the packages it connects.
//
// # Life of a node
//
//  1. Lock the data directory, read or make the node's identity, listen on every port. Whatever
//     is wrong with the settings, the disk or the ports ends the process here.
//  2. Join the gossip. From now on other nodes can find this one.
//  3. Form a cluster, join one, or remember the one it belongs to (package meta/pledge).
//  4. Open the meta replica that is on the disk or that the cluster was founded with, follow the map, register.
//  5. Open the replicas of shards and of the map itself that the map gives to this node, again whenever it changes, and
//     remove those that it does not give to it any more (see remove.go and mapreplica.go).
//  6. Serve until told to stop or until the disk fails.
//
// # Goroutines
//
// Run starts one goroutine for each server, that of profiles included, one that follows the map, with some for replicas
// that it opens or removes at once, and one that rebuilds fenced replicas (see rebuild.go). All of them end before Run returns.
//
// # Invariants
//
//   - N1: a node id is written once, before the node talks to anyone, and never changes.
//   - N2: a directory with files but without an identity is refused, never adopted.
//   - N3: after the first failed write or fsync nothing is acknowledged and the process ends.
//   - N4: a replica that is fenced is in the status until it is rebuilt. Nothing is fetched for it before its disk
//     says that it is fenced, and what cannot be rebuilt is tried less and less often.
//   - N5: a replica, of a shard or of the map, is deleted only after the leader of its shard has confirmed that it is no member, or once its log was
//     forgotten, which comes before everything else. A map alone deletes nothing.
//   - N6: a replica that has run here, or that votes and that the shard was not born with, and of which nothing is on
//     the disk, is not opened: it may have forgotten its votes. It is replaced by one of another incarnation.
//   - N7: a replica that a shard was split off with, and of which nothing is on the disk, is opened only if this node's
//     replica of the parent, of the same incarnation, has gone past the split without making it. It votes at once.
//   - N8: a node does not start on a directory that a recovery is changing (see package recovery).
//   - N9: a node whose cluster was recovered without it ends when gossip shows that.
package node
