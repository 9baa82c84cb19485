// Command quickstart is the shortest useful program for a Lightning cluster: it writes, reads,
// lists and counts through one node, which may be any.
//
//	lightning-node dev                    # in another terminal
//	go run ./examples/quickstart
//
// It is not a measure of speed: it makes one call at a time. The life of the program is the
// function tour, from top to bottom.
//
// # Goroutines
//
// The client's; Close ends them.
//
// # Locks
//
// None.
package main
