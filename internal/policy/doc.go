// Package policy holds the rules of the house as tests: which package may import which, which
// calls product code may not make, how long files and functions may be, what every package must
// say about itself, and that what the documents name exists.
//
// It is not a linter: go vet and staticcheck find mistakes in Go, this package finds departures
// from the design. It contains no product code and reads the source without building it, so it
// also sees files that this machine's build would leave out.
//
// # Its life
//
//  1. loadModule walks the tree from go.mod down and parses every Go file, once.
//  2. Each test walks the parsed files and reports a line for each breach: file, line, what, and why
//     the rule is there.
//  3. A breach is mended, not listed. exceptions holds the few that have a better reason than the
//     rule has; an exception that nothing needs any more is itself a breach.
//
// # Goroutines
//
// None.
//
// # Locks
//
// None.
package policy
