// Package salvage makes a store that opens of the directory of one that is damaged, and lists what is lost.
//
// It is not a way to open a store, and not for a replica of a cluster, whose peers have what is lost: a replica is rebuilt. What it
// cannot read it guesses nothing about.
//
// # The life of a repair
//
//  1. Examine: the manifest, every table and the log are read with all checks. If nothing is damaged, nothing is changed.
//     A read that the disk fails is repeated before it counts.
//  2. A damaged table is read from both ends up to the damage. What lies between is a hole: its rows are lost. A table that can be read
//     at one time and not at another ends the repair: what is lost of it cannot be told. A column family of which there
//     are rows, but that the catalog does not list any more, gets an entry with a name that is made of its id.
//  3. Rewrite: what is left of damaged tables becomes new tables at the same level; if one of level 0 is damaged all of that
//     level becomes one run, as its order is that of its numbers. What a damaged log still has becomes a table of level 0. Without a
//     manifest nobody knows levels, so all rows of all tables become one run.
//  4. Everything new is made in a directory of its own, WorkName; the manifest there, written last, commits the repair.
//  5. Finish: the files that the new manifest does not name move to LostName, then the new tables into their place, and the manifest last.
//
// A crash before 4 is done leaves the store as it was; one after it leaves a directory that Open refuses, and that Run finishes.
//
// # What may come back
//
// A row hides older rows of its key. When it is lost an older one may be seen again, or one that was deleted. Those keys are listed: in
// the report up to a limit, and all of them in the file that step 5 leaves in LostName. Where nothing is known of what was lost, as
// of a file without a footer or of a lost batch, the report says so (Report.AnyKey).
//
// # Goroutines
//
// None.
//
// # Locks
//
// None: the caller holds the lock of the directory.
//
// # Invariants
//
//   - SV1: no byte of a file that was there is written or removed; such a file stays, or moves to LostName.
//   - SV2: after a crash at any point the directory opens as before, or Run finishes it and gives what it would have given.
//   - SV3: a row of the repaired store is a row of the damaged one, or the entry of a family that has lost its own, and every row that a
//     check of its block allows to read is there.
//   - SV4: a key whose newest row may be lost, and that still has a value, is listed.
package salvage
