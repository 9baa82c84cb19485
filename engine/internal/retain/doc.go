// Package retain decides which rows a flush or a compaction keeps: a pure filter over rows in
// order.
//
// It does not read or write anything. The life of a row: Keep sees it after all newer rows of its
// key; it compares the row's sequence with the snapshots that might need it and with the newer
// rows that hide it, turns a value that expired by the horizon into a tombstone, and drops a
// tombstone that has nothing left to hide.
//
// A row is needed by the reader of a snapshot s at a version v, with v at or above the horizon,
// exactly if it is the first row of its key with sequence ≤ s and version ≤ v. So a row is hidden
// from s if a newer row of the same version, or, when the row is at or below the horizon, any
// newer row at or below the horizon, has a sequence ≤ s. It is enough to remember the least
// sequence of those: also a dropped row hides, for what hid it hides the rest too.
//
// Goroutines: none; a Filter is for one goroutine. Locks: none.
//
// Invariants:
//
//	K1 every read at or above the horizon, through every open snapshot or none, gives the same
//	   before and after, but that values expired by the horizon may be absent.
//	K2 a tombstone goes only when no row that it hides is left anywhere, and none can come.
package retain
