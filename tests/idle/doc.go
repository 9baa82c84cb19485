// Package idle measures what groups cost that nobody talks to: three real nodes with many shards and
// no client.
//
// It is a measurement, not a check: no figure of it decides a test. `make idle-cost` prints the table.
// The life of a measurement:
//
//  1. Three processes start on loopback with the asked number of shards and become ready.
//  2. After a pause, in which leaders are elected and logs written, the processor time and the
//     resident memory of each process are read from /proc.
//  3. They are read again after -idle.for; the difference is the cost.
//
// # Goroutines
//
// Those of tests/cluster.
//
// # Locks
//
// None.
package idle
