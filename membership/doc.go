// Package membership is memberlist behind a small face: it finds the nodes, tells where they are and
// notices that one died.
//
// It is not truth. It elects nothing and removes nothing: what it says may be late, wrong or missing,
// and costs time at most. Who belongs to the cluster is in the cluster map.
//
// # The life of a description
//
//  1. Start encodes what the node tells about itself, at most 512 bytes, and gives it to memberlist
//     under a name that is of this process alone.
//  2. The join loop offers it to every address in the list, and to those in the cluster map, until
//     enough nodes are seen; names are resolved anew each time.
//  3. Memberlist spreads it. The receiver's view decodes it, under the name of the process.
//  4. Members shows the newest living process of each node; the event loop tells the difference to
//     what it told before.
//  5. When the process stops answering for about one and a half seconds, memberlist drops it: dead, or
//     left if it had said that it restarts.
//
// # Goroutines
//
//   - joinLoop, eventLoop and tellLoop: started by Start, ended by Close, which waits for them. joinLoop
//     may be in a dial, which ends after two seconds.
//   - memberlist's own: started by Start, told to end by Close. Some end a moment later.
//
// # Locks
//
// memberlist's node lock is held when it calls the view. View.mu and Membership.mu are leaves.
// Membership.ending is taken first of all and held during Leave and Close.
//
// # Invariants
//
//   - G1: two processes never have one name in gossip, so a node that restarts elsewhere is at no time a
//     conflict, and what is said about the old process never touches the new one.
//   - G2: of several living processes of a node, Members and Address show the one that started last.
//   - G3: nothing waits for a reader of events, and a reader that is slow finds one event per node.
//   - G4: a node that is not alive is looked for again, for ever.
package membership
