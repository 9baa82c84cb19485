// Package store is the verbs of lightning-cli that work on the directory of an embedded store, without a server: create, get, put,
// delete, scan, stats, health, check, repair, compact, clear-cache, bench and dump.
//
// It is not for the directories of a node: what was written into one replica by hand would make it differ from its peers. Verbs that
// write refuse such a directory (place.go); those that only read open it when no node has it.
//
// # The life of a command
//
//  1. The verb checks its arguments and opens the directory: only for reading, if it does not have to write.
//  2. It does its work and prints, by Env, as the rest of the program does.
//  3. It closes the store. The error of either becomes words and an exit code in package main.
//
// # Goroutines
//
// The engine's, and that of the progress of long verbs.
//
// # Locks
//
// None; the engine's LOCK keeps other processes out.
//
// # Invariants
//
//   - ST1: get, scan, stats, health, check and dump change no file and make none.
//   - ST2: put, delete, compact and repair refuse what belongs to a node or holds a replica.
package store
