// Package backup writes the rows of a cluster into a directory, checks such a directory, and reads it back.
//
// It is not a client and knows no nodes: rows come from a Source and go to whoever reads them. It is not a
// snapshot of the cluster at one instant either: each shard is a consistent cut of its own.
// The layout is drawn in docs/formats/backup.md.
//
// # The life of a backup
//
//  1. Write wants a directory that is empty or new.
//  2. For each arc of the map a Source streams blocks of records; they go into a file under a temporary name. If the
//     stream breaks, that file begins again, a bounded number of times.
//  3. A file that is whole and synced gets its name.
//  4. If the arcs of the files tile all slots, the manifest is written, synced and gets its name, last of all.
//
// # The life of a restore
//
//  1. Verify reads every byte of every file and lists the first damage of each.
//  2. Only if there is none, Backup.Rows reads the records of each file again, with the same checks.
//
// # Goroutines, locks
//
// None.
//
// # Invariants
//
//   - BK1: a directory without a whole manifest is no backup: what a backup that broke off left behind is refused.
//   - BK2: every byte of a backup is covered by a checksum that also covers where it is, and the manifest names every
//     file, so that damage, truncation, swapped and extra files are found.
//   - BK3: the arcs of a backup tile all slots, and each row is in the arc of its file.
package backup
