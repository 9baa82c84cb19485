// Package http serves what orchestrators and Prometheus ask for: /livez, /readyz and /metrics.
//
// It is not an interface to the data.
//
// # The life of a request
//
//  1. /livez answers 200 while the node's storage is well: a node whose disk failed has to be
//     restarted or replaced, and nothing else is a reason to kill it.
//  2. /readyz answers 200 when the node should get requests, else 503 and the reason in words.
//  3. /metrics collects the node's registry.
//
// # Goroutines
//
// net/http starts one goroutine per connection; Serve is the caller's. Close waits for the
// requests that run.
//
// # Locks
//
// None.
//
// # Invariants
//
//   - O1: every label of a metric has a bounded number of values.
//   - O2: when a password is required, only /livez, /readyz and /metrics answer without it.
package http
