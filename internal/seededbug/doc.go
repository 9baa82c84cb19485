// Package seededbug switches known bugs on, to prove that the tests have teeth. A build without
// the tag `seededbug` has none of them: Enabled is then constant false and the compiler removes
// the branches. With the tag, the environment variable LIGHTNING_SEEDED_BUG names one bug.
//
// It is not a way to inject faults: a bug is a missing line of the product, not a failure of what is below it.
package seededbug
