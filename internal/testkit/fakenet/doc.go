// Package fakenet is a network in memory for tests of several nodes in one process. It fills the
// seams of internal/network and internal/peers: an address is the id of a node.
//
// # Goroutines
//
// None.
//
// # Locks
//
// Net.mu is a leaf.
package fakenet
