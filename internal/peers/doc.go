// Package peers keeps the gRPC connections from this node to other nodes. A connection belongs
// to a node id, not to an address: the address is looked up at every dial, so a node that comes
// back elsewhere is found again.
//
// # The life of a call
//
//  1. Conn finds or makes the connection of a node and a lane; gRPC dials when a call needs it.
//  2. The call carries the id of this node's cluster; the answer brings the other's, and an answer
//     from another cluster is an error.
//
// It does not know who is a node: that is for the credentials that it is given.
//
// # Goroutines
//
// gRPC's, one set per connection; Close ends them.
//
// # Locks
//
// Pool.mu is a leaf.
package peers
