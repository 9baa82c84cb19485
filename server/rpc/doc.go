// Package rpc serves gRPC: the public services KV and Cluster, Forward between nodes, health
// and reflection, and whatever other packages of the node register on the same port.
//
// It is not the implementation of the operations: it translates messages into operations of an
// api.KV and errors into status codes, by the table in package api.
//
// # The life of a request
//
//  1. The headers arrive, 16 KiB of them at most. Who may not call the method is refused now, before
//     the body is taken in (access.go).
//  2. gRPC decodes the message, within api.MaxMessageBytes and maxElements (codec.go).
//  3. An interceptor measures, turns a panic into INTERNAL, and maps the error.
//  4. The handler translates the message, calls the KV and translates the answer.
//
// # Goroutines
//
// gRPC starts one goroutine per request; Serve is the caller's. Close ends the requests that
// only wait (GetMap, health Watch), lets the others end for a moment, cancels the rest and waits
// for all.
//
// # Locks
//
// None.
//
// # Invariants
//
//   - C1: every error of ours that leaves this package carries ErrorDetail.
//   - C2: a request id of a client reaches the KV unchanged.
//   - C3: no request makes the process panic.
//   - C4: a method is called only by those whom the table names; a method without a row by nobody.
//   - C5: what is decoded takes memory in proportion to its size: the elements of lists are counted
//     first.
//   - C6: a connection that has made no call but those open to anybody is cut when it has sent
//     maxStrangerBytes, and has maxStrangerCalls under way at most.
package rpc
