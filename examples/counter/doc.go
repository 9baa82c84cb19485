// Command counter counts to a number in a Lightning cluster, each step exactly once, although the time
// for a step may end before its answer comes.
//
//	lightning-node dev                    # in another terminal
//	go run ./examples/counter -steps 1000
//
// Kill nodes meanwhile, as long as a majority is left: the sum still grows by the number of steps.
//
// It is not a measure of speed: it makes one step at a time. The life of a step is the function
// add: one request id, one batch, and as many calls as it takes.
//
// # Goroutines
//
// The client's; Close ends them.
//
// # Locks
//
// None.
package main
