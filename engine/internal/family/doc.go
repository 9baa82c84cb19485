// Package family is how column families lie in one tree of keys: the prefix of each, the rows that list them, and the set of
// those that were dropped.
//
// It reads and writes nothing. The life of a family:
//
//  1. It gets an id that no family had before. Every key of it bears the id's prefix, so that its rows lie together.
//  2. An Entry lists it, as a row of family 0, in the same tree: what a crash, a repair or a checkpoint leaves of the store
//     has the rows of a family only together with its entry, which was written before.
//  3. When it is dropped, its entry says so, durably. Then its rows are in Dropped, and flushes and compactions leave them out.
//  4. When no table has any of them, the entry is removed.
//
// Goroutines: none. Locks: none; everything is immutable once made.
//
// Invariants:
//
//	FM1 no prefix is the beginning of another one, and prefixes sort as ids do.
//	FM2 an id is never used again.
package family
