// Package table is one immutable sorted file of rows: how it is written, read and checked.
//
// It is not a set of tables: levels, deletion and which version wins are the engine's. The format
// is specified in docs/formats/table.md. The life of a table:
//
//  1. NewWriter takes an empty file; Add appends rows in order into a data block; a full block is
//     compressed if that pays, gets its checksum and goes to the file; its last key goes into
//     the index.
//  2. Finish writes index, filter, properties and footer, and syncs the file.
//  3. Open reads footer, properties, filter and top index, which stay in memory.
//  4. Get asks the filter, walks top index, index block and data block; NewCursor walks rows in
//     both directions. Blocks come from the cache or from the disk, then with all checks.
//
// Goroutines: none. A Reader is safe for concurrent use, a Writer and a Cursor are for one
// goroutine. Locks: none but the cache's.
//
// Invariants:
//
//	B1 no byte of a block is used before its checksum, which covers its type, its place and the
//	   number of its file, was found right.
//	B2 decoders never panic and never allocate by a length that was not checked, whatever the bytes.
//	B3 all rows of a user key are in one table of a level.
package table
