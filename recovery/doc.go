// Package recovery brings a cluster back of which too few nodes are left: some shards, or the cluster map, have lost
// their majority for good. All nodes are stopped meanwhile.
//
//   - Collect reads what the data directory of a node that is left holds, and changes nothing of it.
//   - Make decides from what was collected on all of these nodes, and says what may be lost.
//   - Apply changes the directory of one of them as the plan says. It is run on each.
//
// Every group, a shard's and that of the map, goes on with one replica, that which has the most of the log: what is
// in it counts as committed. The master makes the others from it. The cluster goes on under another id
// (see pledge.NextID), which keeps everybody out who was not there: nodes that are lost, and nodes that the plan was
// not applied on.
//
// Apply builds everything in DIR/recovery-<plan>/new, out of links to the files of the old replicas, and then
// exchanges it with what was there before, which stays in DIR/recovery-<plan>/old until the operator deletes it.
//
// Invariants:
//
//   - RC1: a replica that was chosen has every entry that any replica which is left has and that can be committed: its last
//     entry is of the highest term, and of that term the one with the highest index.
//   - RC2: nothing of the old directory is changed before the new one is whole and durable.
//   - RC3: after a crash or an error anywhere, Apply of the same plan ends as if nothing had happened, and until then
//     no node starts on the directory.
//   - RC4: Apply refuses a directory that is not what the plan was made from.
//   - RC5: numbers never go back: terms, incarnations, ids of shards and revisions of the map are above all that were seen.
package recovery
