// Package record is the row as the engine keeps it: a user key with a version and a sequence, a
// kind, an expiry and a value, and the one order in which rows are kept everywhere.
//
// It is not an encoding: memtables and tables lay rows out as suits them. The life of a row: a
// batch gives it a version, Apply gives it a sequence, and from then on memtables, tables and
// merges hand it round by Cursor until the retention filter drops it.
//
// Goroutines: none. Locks: none.
//
// Invariants:
//
//	O1 rows are ordered by user key ascending, version descending, sequence descending; no two
//	   rows of a store are equal in all three.
package record
