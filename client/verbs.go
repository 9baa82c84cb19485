package client

import (
	"context"
	"io"
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
	return kv.Apply(ctx, putBatch(ns, key, value, o))
}

func putBatch(ns api.Namespace, key, value []byte, o PutOptions) api.Batch {
	return api.Batch{
		Namespace: ns, Request: o.Request,
		Ops: []api.Op{{
			Kind: api.OpPut, Key: key, Value: value,
			Expiry: o.Expiry, Condition: o.Condition, ReturnPrevious: o.ReturnPrevious, Blind: o.Blind,
		}},
	}
}

// PutFrom writes one key with the value that a reader has, to its end. Where the store takes it in pieces,
// as a Client does, a value of any length needs little memory; else it is read as a whole first.
func PutFrom(ctx context.Context, kv api.KV, ns api.Namespace, key []byte, r io.Reader, o PutOptions) (api.Result, error) {
	if taker, ok := kv.(interface {
		PutFrom(context.Context, api.Namespace, []byte, io.Reader, PutOptions) (api.Result, error)
	}); ok {
		return taker.PutFrom(ctx, ns, key, r, o)
	}
	value, err := io.ReadAll(io.LimitReader(r, api.MaxValueBytes+1))
	if err != nil {
		return api.Result{}, readError(err).verdict()
	}
	return Put(ctx, kv, ns, key, value, o)
}

// GetTo reads one key and writes its value to a writer; the item is without it. Where the store gives it in
// pieces, as a Client does, a value of any length needs little memory. After an error what was written is a
// beginning of the value.
func GetTo(ctx context.Context, kv api.KV, ns api.Namespace, key []byte, w io.Writer) (api.Item, error) {
	if giver, ok := kv.(interface {
		GetTo(context.Context, api.Namespace, []byte, io.Writer) (api.Item, error)
	}); ok {
		return giver.GetTo(ctx, ns, key, w)
	}
	item, err := kv.Get(ctx, ns, key)
	if err != nil {
		return item, err
	}
	return passOn(item, w)
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
