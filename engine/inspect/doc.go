// Package inspect shows what the files of a store hold, for people and scripts that look into a directory: a manifest, a table, a
// segment of the log.
//
// It is not a way to read a store, which knows what of all that counts. It writes nothing and takes no lock, so it also reads files of a
// store that is open, as they are at that moment.
//
// # The life of a dump
//
//  1. File tells by the name what it reads.
//  2. It reads the file with all the checks of the engine and gives each piece to visit, in the order of the file; range tombstones of
//     a table, or of a batch, come before the rows. A file that is longer than its kind can be is damage, and not read into memory.
//  3. Damage ends a table, and is one piece of a log, which goes on behind it. It is the error of File, too.
//
// # Goroutines
//
// None.
//
// # Locks
//
// None.
package inspect
