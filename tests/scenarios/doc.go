// Package scenarios holds the tests that walk through one situation each: a start, a lost disk, a
// full disk, bad input, a follower that is far behind, keys that expire together, ordinary Redis clients, a real load.
//
// It has no code of its own but tests. Faults by chance and their histories are in chaos.
//
// The life of a scenario: start a cluster made for it, bring the situation about, check that what
// is said about it is true: exit code, message, what the others still do, what is still there.
//
// # Goroutines
//
// Writers of some scenarios, which end before the checks.
//
// # Locks
//
// None.
//
// # Invariants
//
//	Z1 Every refusal is checked in full: exit code or error, its text, and that nothing else changed.
//	Z2 Every wait has a limit.
package scenarios
