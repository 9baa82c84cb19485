// Package session hands out request ids: names for writes under which a shard runs each write at
// most once, however often it is sent.
//
// It is not the table of answers, which every shard keeps for itself, and it knows nothing of
// shards, connections or retries: who begins a request says when it is over.
//
// The life of a request:
//
//  1. Begin takes the next sequence of a session with room, or of a new session, and the floor:
//     the lowest sequence of that session that is still outstanding.
//  2. The caller sends the request under that id as often as it likes.
//  3. release says that it will never be sent again. The floor moves up over every released
//     sequence, and the next request carries the news to the shards, which then forget the
//     answers below it.
//
// A session has room while the distance from its floor to its next sequence is below half of
// api.MaxSessionWindow. One request that is never released stops its session, not its allocator:
// others take its place. Sessions with room are used again before a new one is made, because a
// shard keeps a row for each session it has seen; there are about as many sessions as there are
// full windows of requests outstanding at once.
//
// # Goroutines
//
// None.
//
// # Locks
//
// Allocator.mu is a leaf.
//
// # Invariants
//
//   - Q1: within a session sequences strictly increase from 1, and no two requests share one.
//   - Q2: the floor of a request never exceeds the sequence of a request of its session that was
//     begun and is not released, itself included.
//   - Q3: sequence - floor is below half of api.MaxSessionWindow in every request.
//   - Q4: releasing twice is releasing once.
package session
