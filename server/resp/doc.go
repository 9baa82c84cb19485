// Package resp serves the Redis protocol, versions 2 and 3, to any Redis client. A Server is one
// of two listeners: for any client, every command for every key, as a single Redis would; or for
// clients in cluster mode, which it sends to the leaders of their slots.
//
// It is not the implementation of the operations: it translates commands into operations of a
// Store and their outcome into replies. It retries nothing, and it routes nothing but what it
// answers with MOVED.
//
// # The life of a command
//
//  1. wire.Reader takes one request off the connection, within the bounds of memory.
//  2. dispatch finds the command in the table; admit checks its arguments, whether the client has
//     authenticated, and on the cluster listener whether another node leads the slot.
//  3. Between MULTI and EXEC it is queued. Otherwise a command on named keys is planned, its
//     operations go to the Store, and the plan writes the reply; any other has a handler of its
//     own. An error becomes an error reply by the table in package api.
//  4. Replies are sent when there is nothing more to read, or when many are pending.
//
// EXEC plans every queued command and makes one independent batch of them, behind the checks of
// the watched keys.
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
// Server.mu, stats.mu, unread.mu and room.mu are leaves. What CLIENT LIST tells of other connections they publish
// themselves (conn.show).
//
// # Invariants
//
//   - U1: a handler that returns an error has written nothing.
//   - U2: one request gets one reply, in order, unless the client asked for none.
//   - U3: the memory of requests that are read or run is bounded by the number of connections times
//     wire.LargeCommandBytes plus Options.MaxLargeBytes. Who stops in the middle of a request, or
//     does not read its reply, keeps nobody from more than about what it has sent. Replies of more
//     than 64 KiB hold at most Options.MaxReplyBytes while they wait for their clients, and a quarter as
//     much while they wait for that room. Who is behind with a reply is cut when others want the
//     room; no reply holds it for more than 17 s then, and one that nobody takes in for about 1 s.
//   - U4: no input makes the process panic; a handler that panics costs its connection only.
//   - U5: what connections keep between requests is bounded: blocks and watched keys by
//     Options.MaxQueuedBytes together, names and subscriptions for each connection.
//   - U6: a connection that has not authenticated reaches no handler but those of AUTH, HELLO,
//     RESET and QUIT.
//   - U7: connections of one network.Source that have not authenticated do not keep those of another
//     from authenticating.
package resp
