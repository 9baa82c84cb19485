// Package embedded takes processes that use the engine by themselves, without a server, away while they write, again and again: by
// SIGKILL, and by a loss of power of the disk on which they work.
//
// It has no cluster; those are in scenarios and chaos. It does not look for rare orders of calls either: the engine's own tests of forgetting do.
//
// # The life of a round
//
//  1. The test starts its own program again as a child, which opens the store with options of the round. Four writers of the child apply batches, and
//     tell through a pipe which are acknowledged.
//  2. After some acknowledgements, or some milliseconds, which may be while the store is being opened, the child is killed, or the disk
//     loses its power first.
//  3. The test reads what the pipe has, opens the store, often only for reading, and compares: of each writer exactly the first so many batches must
//     be there, no fewer than were acknowledged before the power went, and every byte must be whole.
//
// What a writer's batches are depends on seed, writer and number alone, so that the test knows the rows after any number of them.
//
// # Goroutines
//
// In a child its writers, which end with it. In the test a reader of the pipe and one that waits, until the child has ended.
//
// # Locks
//
// None.
//
// # Invariants
//
//	EM1 a batch is told of only after Apply has returned without an error.
//	EM2 each kind of loss has a control that must lose what was acknowledged: a log that gathers in the process for SIGKILL, a log that is
//	    not synced for the loss of power.
package embedded
