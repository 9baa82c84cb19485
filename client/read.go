package client

import (
	"context"
	"errors"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/router"
)

// Get implements api.KV.
func (c *Client) Get(ctx context.Context, ns api.Namespace, key []byte) (api.Item, error) {
	return c.get(ctx, ns, key, 0)
}

// get allows an answer of the given age; 0 asks for a linearizable one.
func (c *Client) get(ctx context.Context, ns api.Namespace, key []byte, staleMillis uint32) (api.Item, error) {
	item, long, err := c.getShort(ctx, ns, key, staleMillis)
	if long {
		return c.getLong(ctx, ns, key, staleMillis)
	}
	return item, err
}

// getShort reads a key unless its value is long.
func (c *Client) getShort(ctx context.Context, ns api.Namespace, key []byte, staleMillis uint32) (_ api.Item, long bool, _ error) {
	if err := validateKey(key); err != nil {
		return api.Item{}, false, err
	}
	op := &operation{name: "get", routed: true, slot: router.Slot(ns, key), stale: staleMillis > 0}
	request := &pb.GetRequest{Namespace: uint32(ns), Key: key, MaxStalenessMs: staleMillis}
	var response *pb.GetResponse
	err := c.do(ctx, op, func(ctx context.Context, to *connection, o callOptions) error {
		answer, err := to.call(ctx, &pb.Call{Request: &pb.Call_Get{Get: request}}, len(key)+callBytes)
		response = answer.GetGet()
		switch err {
		case errTooLong:
			long, err = true, nil
		case errUnary:
			response, err = to.kv.Get(ctx, request, o...)
		}
		return err
	})
	switch {
	case long || errors.Is(err, api.ErrTooLarge):
		return api.Item{}, true, nil
	case err != nil:
		return api.Item{}, false, err
	}
	return getItem(key, response), false, nil
}

// getLong reads a key whose value does not fit into a message.
func (c *Client) getLong(ctx context.Context, ns api.Namespace, key []byte, staleMillis uint32) (api.Item, error) {
	var whole memory
	item, err := c.download(ctx, ns, key, staleMillis, &whole)
	item.Value = whole.value
	return item, err
}

// What can never succeed is refused here, before it costs a round trip. The servers check the
// same again.

func validateKey(key []byte) error {
	switch {
	case len(key) == 0:
		return api.Errorf(api.CodeInvalid, "a key needs at least one byte")
	case len(key) > api.MaxKeyBytes:
		return api.Errorf(api.CodeTooLarge, "a key of %d bytes is over the limit of %d", len(key), api.MaxKeyBytes)
	}
	return nil
}

func validateKeys(keys [][]byte) error {
	if len(keys) > api.MaxBatchOps {
		return api.Errorf(api.CodeTooLarge, "a read of %d keys is over the limit of %d", len(keys), api.MaxBatchOps)
	}
	for _, key := range keys {
		if err := validateKey(key); err != nil {
			return err
		}
	}
	return nil
}
