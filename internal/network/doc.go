// Package network is the network as a seam: everything that listens or dials does it through
// Network, so that tests can put a fake one with cuts and delays in its place. It also says what
// counts as one source of connections, and bounds how many each may have.
//
// It knows nothing of what is sent.
//
// # The life of a connection
//
//  1. A listener made by Bounded accepts it and counts it for its Source, or closes it at once.
//  2. It is given to the server.
//  3. Close, however often it is called, gives its place back once.
//
// # Goroutines
//
// None.
//
// # Locks
//
// bounded.mu is a leaf.
package network
