// Package record encodes the rows of a backup, as they travel from a shard and as they lie in its file.
//
// It is not a file and has no checksums: blocks, which hold whole records, have them.
// The layout is drawn in docs/formats/backup.md.
//
// # The life of a value
//
// A value that lies in its row is one record. A longer one is a record with its length and no bytes, and
// behind it pieces of at most MaxPieceBytes until the length is reached; no other record comes between.
//
// # Goroutines, locks
//
// None.
package record
