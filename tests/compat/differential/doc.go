// Package differential sends the same random commands to Debian's redis-server and to a node of a
// Lightning cluster and wants the same replies, byte for byte.
//
// It is not a test of speed, nor of a connection's first words: those are fixed scripts, in
// package compat.
//
// The life of a round:
//
//  1. generator makes a round: single commands, a pipeline, a MULTI block, a block that watches
//     keys which another connection may write, a whole SCAN, or keys that live for milliseconds.
//  2. session sends it to both servers, each part of it as one pipeline, and reads all replies.
//  3. compare judges each pair: equal, or a rule that names the difference and its reason.
//  4. A pair without a rule is a finding; the keys of the session are removed on both sides, so
//     that one finding is not the cause of the next.
//
// Every session has keys of its own and draws them from few, so that commands meet values that
// others left. Times to live are either over, or far away, or waited for.
//
// # Goroutines
//
// One per session and one per server while a part of a round is under way; the test waits for both.
//
// # Locks
//
// report.mu is a leaf.
package differential
