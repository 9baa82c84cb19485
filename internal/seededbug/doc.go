// Package seededbug switches known bugs on, to prove that the tests have teeth. A build without
// the tag `seededbug` has none of them: Enabled is then constant false and the compiler removes
// the branches. With the tag, the environment variable LIGHTNING_SEEDED_BUG names one bug.
package seededbug

// Bug names one seeded bug.
type Bug string

// SkipReadIndex makes a leader serve reads without asking a majority whether it still leads.
const SkipReadIndex Bug = "skip-read-index"
