// Package otlp sends the spans of package trace to a collector, by OTLP over gRPC. It is not the
// making of spans.
//
// The life of a span:
//
//  1. It ends, and is put into a queue of 4096 spans. If that is full the span is dropped and counted
//     (TE1).
//  2. exportLoop takes what waits, up to 512 spans, at the latest after a second, and sends it. A
//     collector that does not take it within 5 s, or cannot be reached, gets it no second time: the
//     spans are dropped and counted, and at most one line a minute is logged.
//  3. Close sends what waits, within its context, and ends the connection.
//
// # Goroutines
//
//   - exportLoop, one for each Exporter, begun by Open and ended by Close.
//   - those of the connection, of gRPC.
//
// # Locks
//
// None.
//
// # Invariants
//
//   - TE1: nothing that a request waits for waits for the collector.
package otlp
