// Command lightning-cli reads and writes keys of a Lightning cluster and shows its state.
//
//	lightning-cli put greeting hello
//	lightning-cli get greeting
//	lightning-cli scan --prefix user: --keys-only
//	lightning-cli status
//	lightning-cli export all.jsonl
//	lightning-cli backup /backups/monday
//	lightning-cli bench --redis 127.0.0.1:6379
//	lightning-cli store check /var/lib/app/store
//
// It is a thin face of package client: whatever it can do, a Go program can. One verb is one file;
// the mechanism of export and import is package transfer, that of bench is package bench; the files of backup and restore are the product's package backup, the writing is package restore. Package store has the verbs on the
// directory of an embedded store, which need no cluster.
//
// The life of a command: main hands arguments, streams and environment to run; cobra finds the
// verb and parses flags; the verb checks its arguments, connects, makes one or more calls, and
// prints; what comes back as an error becomes words on stderr and an exit code (exit.go).
//
// Results go to stdout and nothing else does. With --output json they are one JSON object per
// line, in which a key or value that is not UTF-8 is base64 under key_b64 or value_b64, and
// versions are strings, because they do not fit into the numbers of JavaScript.
//
// # Goroutines
//
// The client's; every verb closes its client. Long verbs have one that prints how far they are,
// which progress.end stops and waits for; nodes and shards have one for each node they ask. Each read
// of an input has one, which is left behind when the context ends first (input.go).
//
// # Locks
//
// None.
//
// # Invariants
//
//   - Y1: exit code 0 means that what was asked for was done; the others are the table in exit.go.
//   - Y2: get writes the value's bytes as they are, unless stdout is a terminal.
package main
