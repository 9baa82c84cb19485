// Package rangedel keeps range tombstones: each makes all keys from a start up to an end absent, as a tombstone of each of them would
// that has the same version and sequence.
//
// It knows nothing of rows. Whoever has a row of a key asks for the newest range tombstone that covers the key, and takes that for one
// more row of it.
//
// # The life of a range tombstone
//
//  1. A memtable makes a set of what it had and one more. The set before stays as it is, for who reads it.
//  2. A flush or a compaction takes the tombstones of its inputs, joins the pieces of what was one, and writes those that are still
//     needed. Where it cuts its tables between two keys it cuts a tombstone in two pieces, so that each table has what covers its own
//     keys, and its first and last key tell where that is.
//  3. A reader makes one set of the tombstones of a table when it opens the table.
//
// A set is trees of sizes that double, so that one more costs the logarithm of their number, and a look at each of them the square of that. Each
// tree is sorted by starts and knows of its parts the greatest end and the bounds of versions and sequences, so that parts which cannot have
// the one that is asked for are not looked into. A question whether any one will do ends with the first: a range that is deleted a hundred thousand times
// must not cost a flush the square of that. Tombstones are never split to make them disjoint: of ranges that lie in each other
// that would make the square of their number.
//
// Goroutines: none. Locks: none.
//
// Invariants:
//
//	RG1 a set never changes.
//	RG2 what covers a key among the pieces of a tombstone is one piece: cutting and joining change no answer.
package rangedel
