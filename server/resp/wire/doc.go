// Package wire is the Redis protocol, versions 2 and 3, as bytes: a Reader takes requests off a
// connection within bounds of memory, a Reply writes answers.
//
// It is not a server: it knows no command, no connection and no clock.
//
// # The life of a request
//
//  1. Reader.Next reads an inline line or an array of bulk strings. What is over a limit of ours
//     is thrown away and named in Request.Refused; what is over Redis' own is a ProtocolError.
//  2. Small arguments lie in memory that the reader uses again when its owner says that they are done with.
//  3. A request that becomes large waits for the server's leave, once, before it takes memory.
//  4. Reply collects answers and sends them when there are many, or when Flush is called.
//
// # Goroutines, locks
//
// None. A Reader and a Reply belong to the connection's goroutine.
//
// # Invariants
//
//   - UW1: a Reader holds at most one request, a buffer of fixed size and as much for small arguments;
//     beyond LargeCommandBytes it takes memory for at most as much again as has come, of an argument over
//     api.MaxInlineBytes three times as much.
//   - UW3: an argument keeps its bytes until Reuse, and for ever after Keep.
//   - UW2: after the first error of writing a Reply writes nothing more.
package wire
