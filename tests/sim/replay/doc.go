// Command replay runs one seed of the simulation with the same schedule each time.
//
//	go run ./sim/replay -seed 7 -runs 4     # in tests/
//
// It is not how the simulation looks for bugs: there, two processors and the chances of the Go runtime make more
// schedules. It is for a seed whose plan has found one, to look at the same history again with more to see. It needs
// the toolchain that its patches were written for, and compiles the standard library anew, which takes minutes.
//
// The life of a replay:
//
//  1. Copies of a few files of the Go runtime are patched: one sequence of random numbers for each bubble, a
//     fixed key of hashes, nothing that depends on the real clock. go build takes them by -overlay.
//  2. The simulation runs alone on one processor, without collecting garbage.
//  3. The traces are compared: hashes of all that the nodes sent, and when.
//
// On a quiet core about three runs of four have one trace, and on a busy one fewer. What is left to chance is how many threads the
// runtime makes before the history begins: it moves the addresses of what is allocated later, which decide the
// order of maps whose keys are pointers. Who replays a failure repeats it until the trace is the one wanted.
//
// # Goroutines
//
// None.
//
// # Locks
//
// None.
//
// # Invariants
//
//	RY1 A toolchain that a patch does not fit is refused.
package main
