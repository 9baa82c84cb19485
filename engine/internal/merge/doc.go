// Package merge makes one cursor of several: rows of all of them in the one order.
//
// It does not hide or drop anything; that is what the engine's iterator and the retention filter
// do. The life of a walk: Seek places every part and builds a heap of those that have a row; the
// first one is taken out; Step moves it, and compares it with the top of the heap, which takes its place if it is
// before it; the walk ends with the last part or the first error. Alone tells a user of the merge how far the first part may go without it.
//
// Goroutines: none; a cursor is for one goroutine. Locks: none.
//
// Invariants:
//
//	G1 an error of any part ends the walk at once: rows are never served past a gap.
package merge
