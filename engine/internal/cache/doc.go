// Package cache keeps the most recently used blocks of tables in memory, within a number of bytes.
//
// It is not adaptive and not scan-resistant; compactions go past it. The life of a block: a
// reader asks Get, decodes the block from disk on a miss, and hands it to Add, which drops the
// blocks that were not used for the longest time until the rest fits.
//
// Goroutines: none. Locks: one per shard, leaves.
//
// Invariants:
//
//	H1 the sizes of what a shard holds never add up to more than its part of the capacity.
//	H2 a block is immutable once added; readers may keep it after it was dropped.
package cache
