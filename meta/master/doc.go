// Package master keeps a cluster as it should be: it makes replicas where they are missing, moves them where nodes
// come or go, and takes nodes out that are decommissioned.
//
// It is not what decides: package planner does, from a view of the cluster, and package meta holds what is decided.
// It is not what changes the members of a shard either: the shard's leader does, on orders. The master of a cluster is
// the leader of its meta group; on every other node the loop of this package does nothing.
//
// # The life of a move
//
// In each round the master reads the map and asks the leader of every shard who is a member and how far each is. It
// finishes what is half done, and has the planner plan one step for each other shard:
//
//  1. Add: the map gives the replica to the new node, with an incarnation that was never used. The node opens
//     it, empty. Then the shard's leader makes it a learner, which gets a snapshot and the log.
//  2. Promote: when it has caught up, the leader makes it a voter, and the map notes it.
//  3. Lead: if the old replica leads, the leadership goes elsewhere first.
//  4. Remove: the map says that the old replica leaves, the leader removes it from the members, and it leaves the
//     map. Then its node asks the leader, and deletes what it holds.
//
// If the victim is dead it is removed before the new one is promoted. All that a master knows is in the map and in
// the members of the shards, so another master goes on after any half of a step.
//
// Leaders say how many requests reached them. The master averages them over minutes (load.go) for the planner: a leader that
// is silent keeps its average for ten minutes, and of a build that does not count it is unknown. No leader is moved for load
// within ten minutes of when this master saw it begin.
//
// Where nothing is to be done, and neither the map nor what gossip says changes, the leaders are asked every ten seconds
// only, since each question is a read of a shard.
//
// # The life of a split
//
//  1. By hand or by size: the map notes the split, if the members of the shard are the replicas of the map and all vote.
//  2. The shard's leader splits it: every replica makes the child's beside its own (package shard).
//  3. The map publishes both halves. From here on the child is a shard like any other, which balance moves.
//
// Replicas of the cluster map itself move by the same rule, planned by the same planner (holders.go): three voters, five from five
// nodes on. Their membership is in the map as it is committed, so their steps have no halves.
//
// # Goroutines
//
//   - Run's caller runs the rounds. A round starts up to maxCalls goroutines for the calls of one stage and waits
//     for them.
//
// # Locks
//
//   - Master.mu is a leaf.
//
// # Invariants
//
//   - MA1: whatever half of a step was done last, the next round of any master finishes or repeats it, and
//     repeating does no harm.
//   - MA2: a replica leaves the map only after its leader confirmed that it is no member.
//   - MA3: an order names the members that it was made for; of others nothing is changed.
//   - MA4: no removal leaves fewer voters than the quorum of the size that a shard should have, or than there were
//     before the replacement of what is removed began to vote.
//   - MA5: a node is silent only if neither gossip nor any leader hears it, and a new master counts from 0. So it does
//     for a replica that no leader hears though its node lives.
//   - MA6: a learner is given up when it has made no progress for longer than its size explains, and then its node gets
//     nothing new for a while.
//   - MA7: how many voters the map should have depends on who belongs to the cluster; that a node is down never takes
//     a vote away without another in its place.
package master
