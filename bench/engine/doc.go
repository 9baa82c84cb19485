// Command engine measures package engine of Lightning DB beside Pebble, Badger, bbolt and LMDB as embedded
// stores, and prints operations per second, CPU time, latencies, allocations, bytes written, space and memory
// as Markdown tables, with the ratios that the design asks for. It is not a load generator for servers:
// bench/cluster is.
//
// Absolute figures of a shared machine mean little. Stores take turns within each repetition, the median of the
// repetitions counts, and what is compared is the ratio of two rows of one run.
//
// # The life of a measurement
//
//  1. For each repetition, each scene (a data set with the workloads that use it) and each store, the program
//     starts itself as a child process with a directory of its own, after what was written before has
//     reached the disk. One child runs at a time.
//  2. The child makes the keys of the workload, outside the clock and outside the Go heap, so that they neither
//     cost time nor make the collector run less often than it would.
//  3. It loads the store where the scene wants that: without a clock, compacted, closed and opened again.
//  4. Workers run the operations in closed loops. Reads do an unmeasured round, then rounds of the same
//     operations until the window has passed; writes do one round, or as much of it as the limit allows.
//  5. Each value that is read carries a stamp which is compared in the loop. After writes the whole store is
//     read and compared with what the workers wrote, down to the last one. The sums of what was read must be
//     equal over all stores and repetitions, or the program fails.
//  6. The child prints its rows as JSON, and the parent gathers them.
//
// # What is counted
//
// The rate is operations over the time from the first to the last, CPU time is user and system time of the whole
// process in it, including flushes, compactions and collections of garbage that fall into it. Latencies are of each
// write and scan and each 16th read, less what reading the clock twice costs. Bytes written are those that the kernel
// counts for the process (write_bytes), which is wrong for stores that change mapped or cached pages in
// place without a sync: no write amplification is printed for them. It is taken when the store has been quiet
// for a second. Resident bytes are the anonymous memory of the process beyond what it had before the store was opened. Bytes
// of files are those of a compacted and closed store, without logs.
//
// A workload that a store cannot do has a dash and the reason in place of figures.
//
// # Goroutines
//
// One per worker; they end with the round.
//
// # Locks
//
// None, but the striped ones that stand for transactions in stores without any.
package main
