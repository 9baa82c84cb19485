// Package rows lays out a user's key and value as a row of an engine, as docs/formats/keys.md
// describes: the same for a shard and for an embedded store.
//
// It is not a store: it turns bytes into bytes. System rows are the shard's own business; they
// begin with another byte than Prefix.
//
// The life of a key: Key puts namespace, collection and kind around it, and escapes it so that
// engine keys sort as user keys do; Bounds does the same for a range; DecodeKey takes it out again.
//
// # Goroutines, locks
//
// None.
//
// # Invariants
//
//   - KR1: engine keys sort by namespace and then as user keys do, and none is a prefix of another.
package rows
