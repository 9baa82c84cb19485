// Package memtable is the newest part of a store: rows in memory, written by one goroutine and read by
// many without locks.
//
// It is not durable and not bounded by itself: the engine looks at Bytes and starts another one.
//
// A hash index finds the newest row of a user key; the other rows of the key hang on it, newest first.
// So a read or a write of a key costs one look into the index, whatever the number of keys. Keys are put
// in order only when somebody walks: the first walk sorts them, a later one sorts what came since and
// merges it in (docs/decisions/0011-order-in-memory-is-made-when-it-is-needed.md). Nodes of rows, their bytes and
// orders are large slices without pointers, so that the garbage collector has nothing to follow inside.
//
// The life of a batch:
//
//  1. Add copies the batch's bytes into the current byte chunk in one move, or adopts them as a
//     chunk of their own when they are large.
//  2. It computes the hashes of all keys and looks at all their slots, so that the waits for memory overlap. As long as each key is behind
//     all before it there is no index: the rows are sorted, and are searched (ascending.go).
//  3. For each row a node is written with its place, version and hash; then the row is linked: to
//     the newest row of its key, whose place in the index it takes, or as the first row of a new key.
//  4. The number of linked rows is published, and by the engine the batch's last sequence: readers
//     ignored its rows until then.
//
// A walk takes the order that is published. If rows were linked since, it makes a longer one, whose
// unchanged parts it shares, and publishes that. Writers never wait for it and never do it. A cursor keeps
// its order, so the keys that it sees do not change under it; the rows of a key may.
//
// A range tombstone has a node, for its sequence, but is in neither index nor order: it is in a set of its own (package rangedel), which is
// replaced by one with one more.
//
// A read at an older version walks over the newer rows of its key, of which a memtable cannot hold
// more than fit.
//
// Goroutines: none. Locks: none; one writer at a time is the caller's duty, readers need nothing.
//
// Invariants:
//
//	T1 a node and the bytes of its row never change after the row's first link, but for the link
//	   to the next older row.
//	T2 whoever follows a link, or finds a row in the index or in an order, finds its node and its
//	   bytes completely written.
//	T3 a key that a reader's sequence covers is in the index that the reader finds, and in an order
//	   made after that: the index is made, or replaced by a larger one, and the number of rows
//	   published, before the batch is. Without an index it is among the ascending rows. The same holds for the set
//	   of range tombstones.
//	T4 rows have nodes in the order of their sequences, without a gap: the place of a node tells the sequence.
//	T5 codes of one base never order two keys the other way round than the keys themselves do.
package memtable
