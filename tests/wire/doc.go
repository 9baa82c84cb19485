// Package wire speaks the Redis protocol as bytes, for tests that compare, count or spoil them.
//
// It is not a client: it knows no command, retries nothing and converts nothing.
//
// The life of an exchange: Command encodes, Conn.Write sends, Conn.Next takes one reply in, of
// version 2 or 3 of the protocol, and keeps its bytes as they came.
//
// # Goroutines
//
// None.
//
// # Locks
//
// None: a Conn belongs to one goroutine.
package wire
