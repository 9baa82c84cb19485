// Package parts keeps the values of a shard that are in parts: what is staged for a batch that has not
// come yet, which key has which value, and when parts are to be deleted.
//
// It is not a state machine and has no state but Counts: its rows are the caller's, who applies an
// entry, and who has checked the request before.
//
// # The life of a large value
//
//  1. Take writes each part into a row that nobody reads, under an id that the first one gives, and
//     notes it in the row of the request. A part that comes again changes nothing, but the deadline if it
//     has a later one.
//  2. The batch names the parts that are its values. Resolve refuses it if they are not all there with
//     the bytes that are meant. Otherwise the rows of its keys name the parts, which stay where they
//     are, and Publish forgets the request's row and what no value needs.
//  3. PassOn compares what the keys of a command had before it and have after it. Parts that no key has
//     any more are deleted as of the command's version. So the engine keeps them for whoever reads at an
//     earlier version, like any row, and nobody counts references.
//  4. A value that expires is due at its expiry, and what is too much to be deleted at once is due
//     now: a row says so, and Sweep deletes what is due, a bounded number of parts for each tick.
//     Sweep also drops what was staged when the deadline has passed or the request was released.
//
// # Goroutines, locks
//
// None.
//
// # Invariants
//
//   - LV1: a value row is written only when all parts that it names are there, with the bytes that the
//     sender of the batch meant.
//   - LV2: no two live keys name the same parts: a copy has its own, a rename takes them along.
//   - LV3: the parts of a value are deleted at a version at which no key names them any more, and not
//     before: at the command that replaced it, or at or after its expiry.
//   - LV4: each part is named by a live key, by the row of a request, or by a row that says when it is
//     due; a request's row has a deadline.
package parts
