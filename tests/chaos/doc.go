// Package chaos holds the tests that break a running cluster and check that nothing it promised
// is broken: acknowledged writes, counters, linearizable histories, reads from a deposed leader.
//
// It has no code of its own but tests. The tools are in cluster, workload and history.
//
// The life of a scenario: start three processes, start the workload, go through the phases (each
// with one fault, and with a least number of acknowledged operations, because a cluster that
// does nothing breaks nothing), stop the workload, check.
//
// Flags:
//
//	-chaos.duration 10m   repeat the faults of each scenario for so long; without it one short round
//	-chaos.seed N         the seed of operations and faults; printed by every test
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
