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
//  2. take finds the command in the table; admit checks its arguments, whether the client has
//     authenticated, and on the cluster listener whether another node leads the slot.
//  3. A command on named keys is planned and joins the turn: what the client has sent at once. Any
//     other, and every one between MULTI and EXEC, runs the turn first and then runs or is queued by
//     itself.
//  4. Before the connection waits for the client it runs the turn: the operations of all its commands
//     go to the Store in one call, which runs shards side by side; the plans write the replies in the
//     order of the commands. An error becomes an error reply by the table in package api.
//  5. Replies are sent then, or when many are pending: one write to the socket for a turn.
//
// EXEC plans every queued command and makes one independent batch of them, behind the checks of
// the watched keys.
//
// The commands of one connection on one shard run one after the other, and each that is no command on
// named keys runs alone: so a pipeline keeps its order, and each command is answered as it would be
// alone. Only commands on keys of several shards may run at the same time.
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
//     wire.LargeCommandBytes and a turn's bounds plus Options.MaxLargeBytes. Who stops in the middle of a request, or
//     does not read its reply, keeps nobody from more than about what it has sent or, of an argument over
//     api.MaxInlineBytes, from what that takes, for Options.CommandTimeout at most. A reply of a value that comes
//     piece by piece holds one. Replies of more
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
//   - U8: a turn has at most 1024 commands and ends when their arguments reach 64 KiB. A command whose
//     reply is a value that it has changed is a turn of its own, and so is a read whose value is large:
//     no value waits, uncounted, until a slow client has taken in the replies before it.
package resp
