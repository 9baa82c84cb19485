// Package http serves what orchestrators and Prometheus ask for, /livez, /readyz and /metrics, and
// the keys as JSON under /v1/. docs/http.md describes the routes.
//
// It is no second way to do something else than gRPC does: it translates, and package server runs
// the operations. It has no request ids, so a write whose outcome is unknown stays unknown, and
// the answer says so.
//
// # The life of a probe
//
//  1. /livez answers 200 while the node's storage is well: a node whose disk failed has to be
//     restarted or replaced, and nothing else is a reason to kill it.
//  2. /readyz answers 200 when the node should get requests, else 503 and the reason in words: from when its replicas have caught up
//     once until it stops. What becomes of other nodes does not change it.
//  3. /metrics collects the node's registry.
//
// # The life of a request for a key
//
//  1. guard asks for the password, if there is one (O2).
//  2. data.serve gives the connection the time that a large value needs, and refuses what the
//     page of some website made.
//  3. The handler reads the parameters, all of which must be known, and the body, for which
//     memory is reserved first (O3).
//  4. The store runs the operation.
//  5. The answer is JSON, or the value's bytes for those who accept only them. Errors are JSON too:
//     the code, what to do next, whether a retry helps and whether a write may have run.
//
// A scan as a page is complete or an error. As lines it is sent while it is read; its last line
// says how it ended.
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
//   - O3: bodies and values of requests under way hold at most maxHeldBytes: what is JSON as a whole, others a piece.
package http
