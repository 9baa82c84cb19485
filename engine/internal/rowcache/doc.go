// Package rowcache keeps the newest rows of user keys in memory, so that a point read of one needs neither a lock nor an
// allocation, nor the tables.
//
// It is not a part of the store: whatever is in it may go at any moment, and absence is never an answer. It holds no tombstones, no
// older versions, and no rows beyond a size.
//
// # Layout
//
// A shard has buckets of two cache lines: a stamp and fifteen slots. A slot is 31 bits of the key's hash, a mark that the row was used,
// and the place of the row in an arena of segments. All of it is words that are read and written atomically, and none is a
// pointer, so the garbage collector does not look inside.
//
// # The life of a row
//
//  1. A read asks Get. On a miss the Query keeps the stamp of the key's bucket, which was read before anything else.
//  2. The read looks into the store, and gives what it found to Fill. The row is written behind the last one, and gets a slot, if
//     the stamp is still the same.
//  3. Get copies the row and then looks at the stamp again: if it is the same, the row was the newest one, and whole, at that moment. The
//     first hit of a round marks the slot; later ones write nothing.
//  4. The applier calls Begin with the hashes of a batch, publishes it, and calls End. Begin makes the stamps odd, and removes the slots; End makes them
//     even again.
//  5. When all segments are full, the oldest one is reclaimed. New rows wait in a probation twentieth: a row that was used there is carried into
//     the main part, another one is dropped, and its fingerprint kept, so that it comes into the main part at once if it comes again. In the main part
//     used rows are carried forward and lose their mark (S3-FIFO, Yang et al. 2023, on the ring of a log). So rows that are read once, however many,
//     only push each other out.
//  6. Resize with fewer bytes takes chunks of segments away, the last one first, whatever rows they have, and gives their memory back to the
//     system. The others stay. Buckets double and halve with the rows and bytes there are.
//
// # Goroutines
//
// None. Readers fill: one at a time for each shard, and who finds another one there goes on without.
//
// # Locks
//
// Order: publishing, then shard.mu. Fill and TryResize take publishing in another order, too, but only try. Get takes none, and Begin to
// End hold publishing: one publication at a time.
//
// # Invariants
//
//	RW1 a stamp is odd from before a batch with a key of its bucket is published until after; a fill needs the
//	   stamp that was there before its lookup, and even. So no row gets in that is not the newest one that can be seen.
//	RW2 a hit had an even and unlocked stamp before it looked for a slot and has the same after it has copied.
//	RW3 the words of a row change only after its slot has gone or leads elsewhere, and the stamp of its bucket has
//	    changed since, or while the bucket is locked. So what a hit has copied is one whole row.
//	RW4 segments and buckets together stay within the bytes that were given, but for one segment and two buckets a shard.
package rowcache
