// Command stale reads a key twice: as it is, and as it was at most a moment ago.
//
//	lightning-node dev                    # in another terminal
//	go run ./examples/stale -bound 500ms -reads 1000
//
// It is not a benchmark: it prints how long the reads took and where they stand, so that one sees
// what a bound buys. The first kind asks the leader, which asks a majority; the second asks any replica.
//
// The life of the program is the function run, from top to bottom.
//
// # Goroutines
//
// The client's; Close ends them.
//
// # Locks
//
// None.
package main
