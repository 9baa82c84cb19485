// Package levels is the set of tables of a store at one moment, and the choice of what to
// compact: pure functions over that set.
//
// It does not write tables or delete files. Level 0 holds what flushes wrote, newest first, and
// its tables overlap; the tables of a deeper level are sorted and disjoint, and for any key a
// shallower level holds rows of later batches. The life of a set:
//
//  1. A flush or a compaction makes a new set of the old one with With.
//  2. The set takes a reference on each of its tables; a view of the store holds the set.
//  3. Pick looks at it and says what to compact next, if anything, beside what runs.
//  4. The last reader's Unref lets go of the tables; one that no set holds is given to its
//     Released function, which closes it and removes the file.
//
// Goroutines: none. A Set is immutable; counts are atomic. Locks: none.
//
// Invariants:
//
//	L1 tables of a level below 0 are disjoint in user keys and sorted.
//	L2 a table is released exactly once, after its last set was.
//	L3 of two compactions that run at once neither has a level, from its inputs to its output, in which it has keys
//	   within the range of the other's, if the other has that level, too.
package levels
