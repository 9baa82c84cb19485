// Package cache keeps blocks of tables in memory, within a number of bytes: those that are read often, and of the
// others the newest few. One cache serves all stores that share a budget.
//
// It is no cache of rows, it reads nothing by itself, and it does not know when a block changes: blocks never do.
//
// # The life of a block
//
//  1. A reader asks Get and finds nothing, reads the block from its file, and hands it to Add.
//  2. Add puts it into the window, a queue of two hundredths of the bytes, where it has time to be read again.
//  3. When the window is full, its oldest block goes on into the main part if there is room. If there is none, a few
//     blocks of that are drawn, and the one with the fewest reads for its size is compared with the new one: the
//     better one stays. So a block that is read once cannot push out one that is read again and again.
//  4. Get finds the block without a lock and counts a read in the block itself, if fewer than fifteen are noted: a hot block
//     is not written to.
//  5. How often a block was read that is held no more is in a sketch, so it need not begin anew when it comes back.
//  6. After twenty reads that found a block, for each block held, all these numbers are halved. It is hits that count as time, for a
//     long scan has none: it does not make the cache forget.
//  7. Fingerprints of blocks for which there was no room are kept for a while. How many of them come again tells what more room would be worth.
//
// A scan that knows itself to be one uses AddScanned, and its blocks count no read: they leave by the window.
// The policy is TinyLFU (Einziger, Friedman and Manes, 2017) without a log of reads and with a random sample in
// place of the lists of its main part. Why this one: docs/decisions/0022.
//
// Goroutines: none.
//
// Locks: one for each shard, a leaf, held by Add, Resize and Clear, never by Get, and never while reading files.
//
// # Invariants
//
//   - CA1: the sizes of what a shard holds, with Overhead for each block, never add up to more than its part of the capacity.
//   - CA2: a block is immutable once added; readers may keep it after it was dropped.
//   - CA3: what Get finds under a place was added for that place and that store.
package cache
