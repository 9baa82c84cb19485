// Package resp serves the Redis protocol, versions 2 and 3, to any Redis client: every command
// for every key on any node, as a single Redis would.
//
// It is not the implementation of the operations: it translates commands into operations of a
// Store and their outcome into replies. It routes nothing and retries nothing. It is not a
// cluster-mode listener either: CLUSTER answers as on a Redis without cluster support.
//
// # The life of a command
//
//  1. reader.next takes one request off the connection, within the bounds of memory.
//  2. dispatch finds the command in the table and checks the number of arguments.
//  3. The command's handler parses the arguments, calls the Store and writes the reply, or
//     returns an error, which becomes an error reply by the table in package api.
//  4. Replies are sent when there is nothing more to read, or when many are pending.
//
// The commands of one connection run one after the other, so a pipeline keeps its order.
//
// # Goroutines
//
// Serve is the caller's goroutine. It starts one goroutine per connection (serveConn), which
// ends with the connection; Close ends all connections and waits for them.
//
// # Locks
//
// Server.mu is a leaf.
//
// # Invariants
//
//   - U1: a handler that returns an error has written nothing.
//   - U2: one request gets one reply, in order.
//   - U3: the memory of requests that are being read is bounded by the number of connections
//     times wire.LargeCommandBytes plus the number of large commands times wire.MaxCommandBytes.
//   - U4: no input makes the process panic; a handler that panics costs its connection only.
package resp
