// Package glob matches keys against patterns as Redis does, within a budget.
//
// It is not package path.Match: the syntax is Redis', and the work is bounded.
//
// # The life of a match
//
// Pattern.Match walks through pattern and key once; a mismatch goes back to the last star. Each
// comparison costs a step of the pattern's budget, and each byte of a key gives a few back.
//
// # Goroutines, locks
//
// None. A Pattern belongs to one command.
//
// # Invariants
//
//   - UG1: no pattern and no keys take more steps than the budget and what the bytes of the keys
//     give back.
package glob
