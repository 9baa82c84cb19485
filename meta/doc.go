// Package meta holds the cluster map: a replicated state machine, the group that replicates it, and
// the ways for every node to follow and to change it.
//
// It is not the master's control loop: package meta/master is. Nothing here judges who is dead or plans a move; it makes
// the first map, registers nodes, and holds what the master and the operators decide. What is said by gossip never becomes a part of the map by itself.
//
// # The life of a map
//
//  1. The founders (see package pledge) start the meta group on the voters that package placement
//     chooses among them. Every node also starts a Follower.
//  2. The leader proposes Init: cluster id, founders, number of shards. This is revision 1 or so.
//  3. Each node calls Follower.Register at every start. The request is tried at each known node until
//     it reaches the leader, who proposes RegisterNode. Apply assigns an ordinal, or refuses a name
//     that another node has.
//  4. When all founders are registered the leader places the shards and proposes CreateShards, once.
//     From then on the lead loop has nothing to do and ends.
//  5. The master changes the map in halves of steps: a replica is added as a learner, settled when it votes, marked
//     as leaving, and dropped when its group has let it go. Operators change the states of nodes.
//  6. A shard is split in two halves as well: the map notes the split, with the child's id and replicas, and publishes
//     both arcs when the shard has applied it.
//  7. The replicas of the map itself move as well. Who holds it is the committed membership of its own group, and the map
//     shows that; a node that it names opens a replica, empty, and gets the log and a snapshot (members.go).
//  8. Each command that changes the map raises its revision and publishes a new immutable map. Waiters
//     of Machine.Wait hear of it: the local Follower, and by Cluster.GetMap those of other nodes.
//  9. A Follower keeps the map in the file `map` for the next start, and publishes it to its subscribers.
//
// The machine is in memory; Flush writes it to one file. What was applied after the last Flush is
// applied again from the Raft log after a crash.
//
// # Goroutines
//
//   - Meta.leadLoop: started by Open, ended by Close or by the first map with shards.
//   - Follower.followRemoteLoop and publishLoop: started by Start, ended by Close.
//   - Follower.followLocalLoop: started by Attach, ended by Detach or Close.
//
// Both Close methods wait for their goroutines.
//
// # Locks
//
//   - Machine.disk is held while the state file is written. Nothing is locked under it.
//   - Follower.mu is a leaf.
//
// Maps are read through atomic pointers, without locks.
//
// # Invariants
//
//   - M1: every replica applies the same entries once and in order, and evaluate is a function of state
//     and command alone: equal logs give equal maps and equal answers.
//   - M2: a map that was handed out never changes. Two different maps of one cluster have different
//     revisions.
//   - M3: the state file is replaced as a whole and moves forward, except by Install.
//   - M4: after a crash during Install the old state is there or the new one.
//   - M5: shards tile the slots, the replicas of one live on distinct nodes of the map, and shards are created once.
//   - M6: the revision of a Follower's map only grows, and its map is of the node's own cluster.
//   - M7: ordinals and shard ids are given out once and never again; a name belongs to one node at a time.
//   - M8: a node that was taken out held nothing, and never comes back.
//   - M9: each replica of a shard, and of the map, has an incarnation that no other replica of it ever had. The founders, who
//     alone begin the log of a group, never change.
//   - M10: a replica that votes and is not leaving stays in every shard, and there is one learner at most.
//   - M11: a command is proposed only when every node of the map knows its evaluation version.
//   - M12: a split that the map has noted is carried out as it was noted, or not yet: until it is finished the replicas
//     of its shard stay as they are, all of them vote, and there is no other split of the shard.
//   - M20: the cluster's version goes up by one at a time, when every node that can come back knows it, and no node registers whose
//     build does not know it.
package meta
