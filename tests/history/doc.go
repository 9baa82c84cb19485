// Package history records what clients asked and were told, and decides whether it could have
// happened to one correct copy of the data.
//
// It is not a workload and not a harness: it starts nothing and talks to nobody.
//
// The life of a history:
//
//  1. A worker asks Keys for the key of its group; a key that is full has been replaced.
//  2. Recorder.Begin notes the call, then the worker does it.
//  3. The worker ends it by OK, Unknown or Failed. An operation that never ends is unknown.
//  4. Recorder.Operations returns the history. Operations that certainly did not run are not in
//     it; those whose outcome is unknown return after everything else, because they may take
//     effect at any later time or never.
//  5. Check splits the history by key and gives each part to porcupine with a model: Register, Counter, or
//     Expiring for values that end by themselves.
//
// Transactions have a recorder of their own, ListRecorder, because what they are judged by is their
// dependencies and not the state of one key: CheckLists finds cycles among transactions that append to
// lists and read them. Bank judges transfers, whose sum is known beforehand.
//
// # Goroutines
//
// None of its own, but those that porcupine starts and ends within Check.
//
// # Locks
//
// Recorder.mu, ListRecorder.mu, Bank.mu and Keys.mu are leaves.
//
// # Invariants
//
//	H1 An operation that returned OK is in the history with the times around it.
//	H2 An unknown write stays open to the end; an unknown read is dropped, for it says nothing.
//	H3 A key has at most MaxOpsPerKey operations and MaxUnknownPerKey unknown ones before it is
//	   replaced, because the checker's work grows with the operations that overlap.
//	H4 CheckLists accepts every strictly serializable history: it reports only what its witnesses,
//	   a few transactions, prove by themselves.
//	H5 An acknowledged append that a later read lacks is reported even if nobody ever saw it.
package history
