// Package compat runs the Redis clients that people use against a real cluster: on the listener
// that serves every key on any node, and in cluster mode on the cluster listener.
//
// It does not test that replies are right in every corner: package differential compares them
// with redis-server's. Here each client connects, sets, gets, sends a pipeline, waits for an
// expiry and runs a MULTI block where it can.
//
// Clients of other languages are programs in clients/, started with an address; they end with
// code 0, or with a text and another code at the first wrong answer. What they need is installed
// by .ci/run; those for Node.js by "npm ci" in clients/ and in the example's folder.
//
// # Goroutines
//
// None of its own.
//
// # Locks
//
// None.
package compat
