// Package report collects the lines of the page that `make chaos` prints.
//
// It is not a log: a line is a result, with the figures that it rests on.
//
// The life of a line: a test adds it under the name of a section; it is printed at once, and appended to the
// file that the environment names, where the lines of all packages meet.
//
// # Goroutines
//
// None.
//
// # Locks
//
// mu keeps lines whole; it is a leaf.
//
// # Invariants
//
//	RP1 A call is one line, also when several processes add lines.
package report
