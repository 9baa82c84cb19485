// Package manifest is the one file that says what a store holds: its tables and, with them, how
// far in the caller's log they reach.
//
// It is not a log of edits: a store has a bounded number of tables, so the whole state is written
// anew and put in place by an atomic rename. The format is specified in docs/formats/manifest.md.
// The life of an edit:
//
//  1. The engine makes the new State: tables, position, horizon, last sequence and version.
//  2. Store writes it to a temporary file, syncs it, renames it to MANIFEST, syncs the directory.
//  3. Load finds either the old state or the new one after a crash at any point.
//
// Goroutines: none. Locks: none; the engine lets one caller at a time store.
//
// Invariants:
//
//	M1 every table that a manifest names was synced, and its name made durable, before.
//	M2 file numbers are never used twice: NextFile is above every number ever named.
package manifest
