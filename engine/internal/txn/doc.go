// Package txn is what a transaction remembers until it commits: what it wrote, and what it read where that has to be
// checked. It is memory and order only: it reads no store, decides no conflict, and knows no isolation.
//
// The life of a transaction's memory:
//
//  1. Get takes buffers from a pool when the transaction writes or has something to remember for the first time.
//  2. Writes keeps the last write of each key, finds it by hash, and puts the keys in order when an iterator asks.
//  3. Keys and Ranges note what was read. A walk is one range that grows with every step.
//  4. At the commit the ranges are sorted and joined, and the writes become a batch. Put gives the buffers back.
//
// Goroutines: none; everything is for one goroutine at a time. Locks: none.
//
// Invariants:
//
//	TX1 a key is noted once, whatever the number of writes or reads, and its number never changes.
//	TX2 bytes that were handed out stay as they are until the buffers are given back.
package txn
