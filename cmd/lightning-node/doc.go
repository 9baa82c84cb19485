// Command lightning-node is the server of Lightning DB.
//
//	lightning-node start    one node, in the foreground
//	lightning-node dev      several nodes on loopback, for trying things out
//	lightning-node version  what it was built from, also --output json
//
// It parses, wires, waits and stops; what a node does is in package internal/node.
//
// # Goroutines
//
// dev starts one for each child process, which waits for its end. They end before dev returns.
//
// # Locks
//
// None.
package main
