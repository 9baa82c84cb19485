// Package sdk tests the Go client against real processes in the situations that it is there for: a
// map that is out of date, a leader that is killed, a node that is slow or stands still, a
// context that ends in the middle. Each must end in the right error or in success, and no write
// may count twice.
//
// It is not a test of the cluster's consistency: package chaos is. Here a counter is enough: every
// increment has a request id, what was not acknowledged is repeated under its id at the end, and
// the sum must be the number of ids.
//
// The life of a test: a cluster starts, workers increment, the fault comes and goes, the open
// requests are repeated, the sum is read, and the figures are printed.
//
// # Goroutines
//
// The workers of a test; it waits for them.
//
// # Locks
//
// tally.mu is a leaf.
package sdk
