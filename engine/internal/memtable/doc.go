// Package memtable is the newest part of a store: rows in memory, in order, written by one
// goroutine and read by many without locks.
//
// It is not durable and not bounded by itself: the engine looks at Bytes and starts another one.
//
// Each user key has one node, found in two ways: by a hash index, for reads and writes of the key,
// and by a skiplist (Pugh, 1990), for walks in order. The rows of a key hang on its node, newest
// first. So a row for a key that is there costs a look into the index and one link, and only a new
// key is searched for in the skiplist. Nodes are runs of 32-bit words in a few large slices and rows
// are bytes in others, so that the garbage collector has nothing to follow inside.
//
// The life of a batch:
//
//  1. Add copies the batch's bytes into the current byte chunk in one move, or adopts them as a
//     chunk of their own when they are large.
//  2. For each row a node is written with its place, version and sequence.
//  3. The row is linked to the node of its key; a new key's node is linked into the skiplist from
//     the bottom level up and then put into the index.
//  4. The engine publishes the batch's last sequence: readers ignored its rows until then.
//
// A read at an older version walks over the newer rows of its key, of which a memtable cannot hold
// more than fit.
//
// Goroutines: none. Locks: none; one writer at a time is the caller's duty, readers need nothing.
//
// Invariants:
//
//	T1 words and bytes of a node and its row never change after the node's first link, but for
//	   the words of its links.
//	T2 whoever follows a link, or finds a node in the index, finds the node, and the chunks it points
//	   into, completely written.
//	T3 a key that a reader's sequence covers is in the index that the reader finds: an index is
//	   replaced by a larger one before the batch that made it grow is published.
package memtable
