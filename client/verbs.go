package client

import (
	"context"
	"time"

	"github.com/lightning-db/lightning/api"
)

// The functions below are one-operation batches on any api.KV: a Client, an embedded store, or a
// stand-in in a test. Client has them as methods, too.

// PutOptions refines a Put. The zero value writes unconditionally and without expiry.
type PutOptions struct {
	Expiry         api.Expiry
	Condition      api.Condition
	ReturnPrevious bool
	// Blind spares the store reading the key: the result does not say what was there before.
	Blind bool
	// Request makes it possible to retry an unknown outcome later; see NewRequest.
	Request api.RequestID
}

// ExpireAfter is an expiry d from the moment at which the write is applied, by the store's time.
func ExpireAfter(d time.Duration) api.Expiry {
	return api.Expiry{Mode: api.ExpiryAfter, Millis: uint64(max(d.Milliseconds(), 0))}
}

// Put writes one key. Result.Applied is false when the condition did not hold.
func Put(ctx context.Context, kv api.KV, ns api.Namespace, key, value []byte, o PutOptions) (api.Result, error) {
	return kv.Apply(ctx, api.Batch{
		Namespace: ns, Request: o.Request,
		Ops: []api.Op{{
			Kind: api.OpPut, Key: key, Value: value,
			Expiry: o.Expiry, Condition: o.Condition, ReturnPrevious: o.ReturnPrevious, Blind: o.Blind,
		}},
	})
}

// Delete removes one key and reports whether it existed.
func Delete(ctx context.Context, kv api.KV, ns api.Namespace, key []byte) (existed bool, err error) {
	found, err := one(ctx, kv, ns, api.Op{Kind: api.OpDelete, Key: key})
	return found.Existed, err
}

// Increment adds delta to a decimal 64-bit integer, an absent key counting as 0, and returns the
// sum. It fails with api.ErrNotInteger for any other value, and with api.ErrOverflow when the sum
// does not fit.
func Increment(ctx context.Context, kv api.KV, ns api.Namespace, key []byte, delta int64) (int64, error) {
	found, err := one(ctx, kv, ns, api.Op{Kind: api.OpIncrement, Key: key, Delta: delta})
	return found.Number, err
}

// CompareAndSwap writes a key if its version still is the one that a read returned, 0 for a key
// that must be absent. It returns the new version, and 0 when somebody else was faster.
func CompareAndSwap(ctx context.Context, kv api.KV, ns api.Namespace, key, value []byte, version api.Version) (api.Version, error) {
	result, err := Put(ctx, kv, ns, key, value, PutOptions{
		Condition: api.Condition{Kind: api.ConditionVersion, Version: version},
	})
	return result.Version, err
}

func one(ctx context.Context, kv api.KV, ns api.Namespace, op api.Op) (api.OpResult, error) {
	result, err := kv.Apply(ctx, api.Batch{Namespace: ns, Ops: []api.Op{op}})
	if err != nil {
		return api.OpResult{}, err
	}
	return result.Ops[0], nil
}

// Put is the function Put on this client.
func (c *Client) Put(ctx context.Context, ns api.Namespace, key, value []byte, o PutOptions) (api.Result, error) {
	return Put(ctx, c, ns, key, value, o)
}

// Delete is the function Delete on this client.
func (c *Client) Delete(ctx context.Context, ns api.Namespace, key []byte) (existed bool, err error) {
	return Delete(ctx, c, ns, key)
}

// Increment is the function Increment on this client.
func (c *Client) Increment(ctx context.Context, ns api.Namespace, key []byte, delta int64) (int64, error) {
	return Increment(ctx, c, ns, key, delta)
}

// CompareAndSwap is the function CompareAndSwap on this client.
func (c *Client) CompareAndSwap(ctx context.Context, ns api.Namespace, key, value []byte, version api.Version) (api.Version, error) {
	return CompareAndSwap(ctx, c, ns, key, value, version)
}
