// Package bench puts load on a store and measures how it answers.
//
// It is not a judge of the store: it does not check what it reads. Package tests does that.
//
// # The life of a run
//
//  1. Validate refuses options without bounds: a run ends by itself.
//  2. One read shows that the store answers at all, so that a wrong address is an error and not a
//     million of them.
//  3. Workloads that read fill the keys first; what that takes is not measured.
//  4. Clients work side by side: each chooses keys by its own generator, sends a round of one
//     operation, or of a pipeline, and waits for all of it. What ends during the warm-up is
//     not counted.
//  5. When the time or the count is used up no round begins any more. Those that run are waited
//     for, and counted: to cut them off would hide the slowest. Each has a timeout, so Run ends
//     whatever the store does.
//
// The latency of an operation is that of its round, from before it is sent until its last answer
// is there: a pipeline's operations are as slow as the pipeline. A client waits for the answer
// before it sends more, so a store that stalls is asked less: percentiles say what these
// clients saw, not what independent users would have seen.
//
// # Goroutines
//
// One per client, started and waited for by Run.
//
// # Locks
//
// None: each client has its own counters, added up at the end.
package bench
