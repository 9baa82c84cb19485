// Package upgrade runs clusters of processes of two builds: this one, and one that knows one cluster version more.
//
// It is not a test of what a later version writes: the build of the future writes what this one does, under a format of its own, which this one
// has to refuse.
//
// # The life of a test
//
//  1. A cluster starts, and writers count through the SDK.
//  2. Nodes are stopped and started again with the other build, one after the other.
//  3. What may not be is tried: to raise the version too early, and to go back too late.
//  4. Every counter must be what was answered.
//
// # Goroutines
//
//   - Writers: started by a test, which stops them and waits for them.
//
// # Locks
//
// None; each writer owns its counts.
//
// # Invariants
//
//   - UR1: a counter is at least the number of answered increments, and at most that plus those with an unknown outcome.
package upgrade
