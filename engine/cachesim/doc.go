// Package cachesim runs traces of keys through caches and counts hits: textbook policies, the optimum that knows
// the future, and the engine's own block cache as it is built. It is how the policy of the caches was chosen, and the
// test of this package holds the block cache to it. It is no cache to use, and stores do not need it.
//
// The life of a measurement: a Trace is made from a seed; Run asks a Policy for each key in turn, which keeps
// the key on a miss if it wants to; the result is how many of them were hits.
//
// Sizes: every key counts as one entry of equal size, for only then is Belady's rule the optimum. EntryBytes is that
// size for the caches that count bytes.
//
// RunShared reads a Load, point reads and scans of rows in blocks, through both of the engine's caches at once, with the engine's way of parting
// their bytes. It is how that was chosen, and held to.
//
// Goroutines and Locks: none; a Policy belongs to one goroutine.
//
// # Invariants
//
//   - CS1: no policy, and neither does the optimum, holds more entries than its capacity; so no policy has more hits than
//     the optimum on the same trace.
package cachesim
