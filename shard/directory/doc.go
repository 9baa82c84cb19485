// Package directory is where one replica of a shard has its engine on disk: a locked directory
// with numbered engine directories, of which one counts, and the switch to a checkpoint that was
// received.
//
// It is not the state machine: it looks into no row. Whoever opens it brings a Loader, which may
// refuse what it finds.
//
// # The life of an installation
//
//  1. Install moves the checkpoint beside the current engine, under the next number, and opens it.
//  2. The Loader looks at it; then CURRENT is replaced, atomically.
//  3. The new engine is the current one for whoever comes. Who holds the old one finishes there;
//     the last to release it closes it and removes its directory.
//
// # Goroutines
//
// None.
//
// # Locks
//
// Store.mu and Members.mu are leaves: nothing is locked and no I/O is done while one is held.
//
// # Invariants
//
//   - RD1: after a crash at any point of Install, either the old or the new engine is there, whole,
//     and what is left of the other is removed at the next opening.
//   - RD2: an engine is closed after its last holder has released it, and a directory never has two
//     openers.
package directory
