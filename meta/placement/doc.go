// Package placement decides where replicas go: pure functions from nodes and groups to places.
//
// It is not the planner: it knows nothing of votes, quorums, dead nodes or what is under way. Package
// planner asks it who should get a replica, whose replica should go, and what makes nodes more even.
//
// # The life of a placement
//
//  1. Arcs cuts the 16384 slots into K arcs of equal size.
//  2. Each node has a fair share of the replicas by its weight. No node holds two replicas of a group, and
//     no zone more of one group than it must; what a full node or zone cannot take goes to the others.
//  3. A group takes its next replica by weighted rendezvous hashing (Thaler and Ravishankar, 1998): each
//     node has a fixed claim to each group, and the strongest wins. Load is bounded with the factor 1: only
//     nodes below their share, rounded up, compete while there are any.
//  4. Replicas stay where they are while that is good enough: a node may hold one replica or a tenth more
//     or less than its share. Balance moves those that the bounds demand, along the shortest way to a node
//     with room, choosing the groups to which the new node's claim grows most. Then it evens out loads,
//     outside of a dead band.
//  5. Leaders are spread over the nodes that can lead, by weight, as evenly as the replicas allow: what a node holds
//     beyond its share gives it no more to lead.
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
//   - L1: equal sets of nodes, in any order, give equal placements, on every machine and version: claims
//     are integers and goldens hold them.
//   - L2: the arcs tile the slots, and their sizes differ by at most one.
//   - L3: a group has as many replicas as it should, or as there are nodes, on distinct nodes.
//   - L4: in a new cluster of equal nodes, the numbers of replicas that two nodes hold differ by at most
//     one, and so do the numbers of first replicas.
//   - L5: when no move is left, each node is within its bounds: one replica or a tenth of its share.
//   - L6: no zone holds more replicas of a group than it must.
//   - L7: moves come to an end. Growth moves the new node's share and no other replica, where nodes are
//     equal and zones even. Removal moves what was on the node, and for balance, without zones, at most a
//     quarter as many and one for each node.
//   - L8: when no leadership is to move, each node leads no more and no less than one, or a tenth, beside the mean by
//     weight; where replicas do not allow that, as much as in the most even assignment.
package placement
