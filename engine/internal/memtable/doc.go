// Package memtable is the newest part of a store: rows in memory, in order, written by one
// goroutine and read by many without locks.
//
// It is not durable and not bounded by itself: the engine looks at Bytes and starts another one.
// The structure is a skiplist (Pugh, 1990) whose nodes are runs of 32-bit words in a few large
// slices and whose rows are bytes in others, so that the garbage collector has nothing to follow
// inside. The life of a batch:
//
//  1. Add copies the batch's bytes into the current byte chunk in one move, or adopts them as a
//     chunk of their own when they are large.
//  2. For each row a node is written with its place, version, sequence and tower.
//  3. The node is linked from the bottom level up; a reader sees it from the first link on.
//  4. The engine publishes the batch's last sequence: readers ignored its rows until then.
//
// Goroutines: none. Locks: none; one writer at a time is the caller's duty, readers need nothing.
//
// Invariants:
//
//	T1 words and bytes of a node and its row never change after the node's first link, but for
//	   the words of its tower.
//	T2 whoever follows a link finds the node, and the chunks it points into, completely written.
package memtable
