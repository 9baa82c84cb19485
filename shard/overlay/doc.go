// Package overlay finds the newest row of each key that a run of entries has written and has not yet
// given to the engine.
//
// It is not a store: it forgets everything at each Reset, and rows belong to whoever put them.
//
// The life of a row: Put notes it under its engine key, in place of an earlier one; Find returns it to
// what the run evaluates next; Reset forgets it once the engine has it.
//
// # Goroutines, locks
//
// None. An Overlay belongs to one goroutine.
//
// # Invariants
//
//   - OV1: Find returns the row that was put last under a key since the last Reset, and nil without one.
package overlay
