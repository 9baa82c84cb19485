// Package life grows, shrinks and heals clusters of processes under load.
//
// It is not where every step of a move is tried with every fault: package meta/master does that without processes. Here
// the whole is shown to work: the nodes open and delete replicas, the leaders change members, and clients notice nothing.
//
// # The life of a test
//
//  1. A cluster starts, and clients work: some read and write registers and record it, some count and put keys, and one for
//     each shard measures for how long it does not serve.
//  2. Nodes join, leave, die, lose their volumes or move to other addresses. While something moves the master or a node
//     that gets a replica is killed. The test waits until the master says that all is even and nothing is to be done.
//  3. The history of the registers must be linearizable, every counter what was answered, and every key there.
//
// By default a test does as little as shows that it works; `make life` runs all of it and prints figures.
//
// # Goroutines
//
//   - Clients: started by a test, which stops them and waits for them.
//
// # Locks
//
// probe.mu and unfailing.mu are leaves; each tally belongs to its client.
//
// # Invariants
//
//   - LF1: a counter is at least the number of answered increments, and at most that plus those with an unknown outcome.
//   - LF2: once nothing is to be done each node holds its share of the replicas, and leads its share of what it holds, by
//     one or by a tenth.
package life
