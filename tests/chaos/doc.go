// Package chaos holds the tests that break a running cluster and check that nothing it promised
// is broken: acknowledged writes, counters, linearizable histories, reads from a deposed leader.
//
// It has no code of its own but tests. The tools are in cluster, workload and history.
//
// The life of a cell of the matrix (TestFaultsBreakNoPromise): start the cluster that the fault needs, start the
// workload, strike, let the fault last, heal, wait until every client is served, stop the workload, judge what it
// saw. Each phase has a least number of acknowledged operations, because a cluster that does nothing breaks nothing.
// Other scenarios go through phases of their own in the same way.
//
// Flags:
//
//	-chaos.cells ring/*,*/sets   cells of the matrix; without it six
//	-chaos.cell-time 1m          repeat the fault of a cell for so long; without it once
//	-chaos.kills 200             leaders to kill for the time of a failover
//	-chaos.duration 10m          repeat the faults of the other scenarios for so long; without it one short round
//	-chaos.seed N                the seed of operations and faults; printed by every test
//
// # Goroutines
//
// The workload's, which end before the checks.
//
// # Locks
//
// None.
//
// # Invariants
//
//	X1 Every scenario asserts that its faults hit what they were aimed at.
//	X2 Every wait has a limit; a cluster that does not recover is a failure, not a hang.
package chaos
