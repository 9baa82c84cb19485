// Package keyhash is the one hash of user keys: tables make their filters of it, and a point read computes it
// once for memory, caches and filters alike.
//
// It is not keyed: who can choose keys can choose keys of equal hashes. A structure whose cost grows with such keys mixes
// its own secret into the hash and bounds its probes, or hashes the key itself. The main operation is one call, Of.
//
// Goroutines: none. Locks: none.
//
// Invariants:
//
//	HK1 Of never changes: it is part of the table format (docs/formats/table.md).
package keyhash
