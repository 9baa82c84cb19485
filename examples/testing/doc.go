// Package basket is a small program of a user's, and its tests show how to test such a program: most
// of it on an embedded store, which takes no time to make, and what is about faults on a real
// cluster, which package lightningtest starts inside the test.
//
// It is not a shop. The life of an item is the function Add: read, change, write if nobody was
// faster, and again if somebody was.
//
// # Goroutines, locks
//
// None.
package basket
