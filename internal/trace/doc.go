// Package trace follows a request through the nodes that work on it, with OpenTelemetry. It is not
// the export of what was seen: that is package otlp below it, and no package but internal/node
// knows it.
//
// The life of a trace:
//
//  1. A front end calls Tracer.Request with the `traceparent` headers that came with the request.
//     Without one the request begins a trace of its own, with the probability that the provider was
//     made with; with one, the sender has decided. Of a request that is not sampled nothing is kept:
//     its context stays what it was.
//  2. What works on it calls Begin, or FromContext and Span.Child for a time that is over already.
//     Both give nil where nobody is traced, and every method of a nil Span does nothing.
//  3. A node that passes the request on sends Span.Parents; the other one calls Tracer.Continue, which
//     never begins a trace.
//
// Work is often done once for many requests: an entry of the log, a message to another node. A Span
// is therefore a set, with a part in the trace of each of them; the parts are linked to the others'
// parents. A set has at most 16 parts (TR2).
//
// # Goroutines
//
// None.
//
// # Locks
//
// None. A Span is used by one goroutine at a time.
//
// # Invariants
//
//   - TR1: without a Tracer in the process a call costs one load of a flag, and nothing is allocated.
//   - TR2: however many traced requests come together, a piece of work has at most maxParts spans.
//   - TR3: spans carry names, counts, ids of nodes and shards, and codes of errors; never keys, values
//     or texts of errors.
package trace
