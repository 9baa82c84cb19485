package client

import (
	"context"
	"iter"
	"math"
	"time"

	"github.com/lightning-db/lightning/api"
)

// StaleReader reads what was true at some time within the last Bound. It is cheap to make and
// safe for concurrent use.
//
// The calls are spread over all replicas of a shard, those that answer fast and are well first; a
// replica that cannot prove the bound asks the leader, and if that fails another replica is tried.
// The bound is kept by the replicas without comparing clocks of machines: an answer is never older
// than that. Reads that follow each other may go to replicas of different age, so the second may
// see less than the first; what this client wrote less than Bound ago may be missing. Who needs
// more reads by the Client itself.
type StaleReader struct {
	client *Client
	bound  time.Duration
}

// Stale gives reads that may be up to bound old. A bound below a millisecond asks for
// linearizable reads.
func (c *Client) Stale(bound time.Duration) *StaleReader {
	return &StaleReader{client: c, bound: bound}
}

// Get is as Client.Get, within the bound.
func (s *StaleReader) Get(ctx context.Context, ns api.Namespace, key []byte) (api.Item, error) {
	return s.client.get(ctx, ns, key, staleMillis(s.bound))
}

// MultiGet is as Client.MultiGet, each key within the bound.
func (s *StaleReader) MultiGet(ctx context.Context, ns api.Namespace, keys [][]byte) ([]api.Item, error) {
	return s.client.multiGet(ctx, ns, keys, staleMillis(s.bound))
}

// Scan is as Client.Scan, each page within the bound. Range.MaxStaleness is not used.
func (s *StaleReader) Scan(ctx context.Context, r api.Range) iter.Seq2[api.Item, error] {
	r.MaxStaleness = s.bound
	return s.client.Scan(ctx, r)
}

// staleMillis is a bound as requests have it, never more than it is.
func staleMillis(bound time.Duration) uint32 {
	return uint32(min(max(bound.Milliseconds(), 0), math.MaxUint32))
}
