// Package table is one immutable sorted file of rows: how it is written, read and checked.
//
// It is not a set of tables: levels, deletion and which version wins are the engine's. The format
// is specified in docs/formats/table.md. The life of a table:
//
//  1. NewWriter takes an empty file; Add appends rows in order into a data block. A full block is laid out in
//     columns, compressed if that pays, gets its checksum and goes to the file; what separates it
//     from the next one goes into the index.
//     A large value mostly gets a frame of its own, before the block with its key: apartChoice says when.
//  2. Finish writes index, filter, properties and footer, and syncs the file.
//  3. Open reads footer, index, filter and properties, which stay in memory, outside of any cache.
//  4. Get asks the filter, finds the one data block by the index, and the row in it by a binary search: without
//     an object, without decoding what is before the row. A value that stands apart is read when somebody asks for it: Value, record.Row.Load. NewCursor walks rows in both directions. Blocks come from the cache or from the
//     disk, then with all checks.
//  5. A walk that has the rest of a block to itself makes a run of it (BeginRun, LimitRun) and goes over that by StepRun, which asks
//     nothing of a row.
//
// A block is checked whole when it comes from the disk. From then on its rows are read without checks that could fail.
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
//	B4 of the rows of a run all are visible to the walk, and none expires; of each key that has one but for the current row's, the newest
//	   is shown or is a tombstone.
//	B5 the values of a block that stand apart lie between the block before and it, without gaps, each of one row; block and index agree on it.
package table
