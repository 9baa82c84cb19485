// Package stripe spreads a counter that all goroutines write over several cache lines, so that cores do not
// take one line from each other at every operation.
//
// It is not exact by itself: who reads all stripes reads each at another moment. What that is good for, the users say.
// The main operation is Index: the place of the calling goroutine's stack picks a stripe, so a goroutine mostly meets its own
// line, without asking the runtime which processor it runs on.
//
// Goroutines: none. Locks: none.
//
// Invariants:
//
//	SP1 Index is below Count, whatever goroutine asks, and whenever.
package stripe
