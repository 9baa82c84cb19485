//go:build race

package engine

// slower divides the counts of the long tests: the race detector makes them ten times slower, and finds no more for it.
// tests/seeded runs them without it.
const slower = 10
