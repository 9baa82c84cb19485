package workload

import (
	"context"
	"strconv"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/history"
)

// SDK is a Store on the Go client, which finds the nodes itself and retries under request ids.
type SDK struct{ Client *client.Client }

// Close closes the client.
func (s *SDK) Close() { _ = s.Client.Close() }

// Supports implements Store.
func (s *SDK) Supports(history.Input) bool { return true }

// Perform implements Store.
func (s *SDK) Perform(ctx context.Context, in history.Input) (history.Output, error) {
	key := []byte(in.Key)
	switch in.Kind {
	case history.Read:
		item, err := s.Client.Get(ctx, 0, key)
		out := history.Output{Seen: history.Seen{Found: item.Found, Value: string(item.Value), Version: uint64(item.Version)}}
		out.Number, _ = strconv.ParseInt(out.Value, 10, 64) // meaningful for counters only
		return out, err
	case history.Write:
		return putResult(s.Client.Put(ctx, 0, key, []byte(in.Value), client.PutOptions{}))
	case history.CompareAndSet:
		condition := api.Condition{Kind: api.ConditionVersion, Version: api.Version(in.Expected.Version)}
		return putResult(s.Client.Put(ctx, 0, key, []byte(in.Value), client.PutOptions{Condition: condition}))
	case history.Delete:
		existed, err := s.Client.Delete(ctx, 0, key)
		return history.Output{Existed: &existed}, err
	default:
		n, err := s.Client.Increment(ctx, 0, key, in.Delta)
		return history.Output{Number: n}, err
	}
}

func putResult(r api.Result, err error) (history.Output, error) {
	return history.Output{Seen: history.Seen{Version: uint64(r.Version)}, Applied: r.Applied}, err
}
