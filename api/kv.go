package api

import (
	"context"
	"iter"
)

// KV is the store as a Go program sees it. The cluster client implements it, and the embedded
// engine will. Implementations are safe for concurrent use.
type KV interface {
	// Get reads one key linearizably. An absent key is an Item with Found false and no error.
	// The caller owns the returned bytes.
	Get(ctx context.Context, ns Namespace, key []byte) (Item, error)
	// MultiGet reads each key linearizably; the keys together are not one snapshot.
	MultiGet(ctx context.Context, ns Namespace, keys [][]byte) ([]Item, error)
	// Apply writes a batch atomically. An error that matches ErrUnknownOutcome means that the
	// batch may or may not have been applied; a retry under the same request id is safe.
	Apply(ctx context.Context, b Batch) (Result, error)
	// Scan yields the items of a range in order. It stops after the first error it yields.
	Scan(ctx context.Context, r Range) iter.Seq2[Item, error]
	// Close releases the connections and waits for what is in flight.
	Close() error
}
