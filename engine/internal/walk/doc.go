// Package walk is the insides of an iterator: cursors over all places where rows may be, and memory for keys, used by one
// iterator after the other.
//
// It does not know which rows an iterator shows. The life of a walk:
//
//  1. Take gives one, most often one that was used before, with its memory.
//  2. AddMemory and AddTables make a cursor of each place that may have rows in the range; Begin merges them, if they are several.
//  3. The iterator moves Cursor, directly and by SeekFirstOf, SeekLastOfKey and SkipKey.
//  4. Where one table has the next rows to itself, Run gives the cursor of that, and the iterator goes over them without the others.
//  5. What an iterator does not show is left out by seeks where that may be much: tables that came after its time are no part of the walk, of a key with many rows
//     the newest is sought (SkipNewer, NewestOfMany), and behind some hidden keys so is the end of what hides them (SkipHidden).
//  6. Give lets go of tables, memtables and blocks, and keeps the walk for the next iterator.
//
// Goroutines: none; a walk is for one goroutine. Locks: none.
package walk
