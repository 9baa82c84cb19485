// Package life grows, shrinks and heals clusters of processes under load.
//
// It is not where every step of a move is tried with every fault: package meta/master does that without processes. Here
// the whole is shown to work: the nodes open and delete replicas, the leaders change members, and clients notice nothing.
//
// # The life of a test
//
//  1. A cluster starts, and writers count and put keys through the SDK.
//  2. Nodes join or are told to leave by lightning-cli, and the test waits until lightning-cli says that all is even.
//  3. Every counter must be what was answered, and every key there.
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
//   - LF1: a counter is at least the number of answered increments, and at most that plus those with an unknown outcome.
package life
