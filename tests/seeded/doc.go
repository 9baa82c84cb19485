// Package seeded proves that the tests have teeth: with a known bug switched on, the test that was written for the
// promise which the bug breaks must fail.
//
// It is not a list of all that could go wrong. The bugs and their claims are in internal/seededbug.
//
// The life of a claim: the tests of its package are built once with the tag `seededbug`; the test runs without a
// bug and must pass, and with the bug and must fail, each within a limit.
//
// # Goroutines
//
// None of its own.
//
// # Locks
//
// None.
//
// # Invariants
//
//	BS1 A bug without a claim, and a claim whose test does not exist, are failures.
package seeded
