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
	if err := validateKey(key); err != nil {
		return api.Item{}, err
	}
	op := &operation{name: "get", routed: true, slot: router.Slot(ns, key), stale: staleMillis > 0}
	request := &pb.GetRequest{Namespace: uint32(ns), Key: key, MaxStalenessMs: staleMillis}
	var response *pb.GetResponse
	long := false
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
		return c.getLong(ctx, ns, key, staleMillis)
	case err != nil:
		return api.Item{}, err
	}
	return getItem(key, response), nil
}

// getLong reads a key whose value does not fit into a message.
func (c *Client) getLong(ctx context.Context, ns api.Namespace, key []byte, staleMillis uint32) (api.Item, error) {
	var whole memory
	item, err := c.download(ctx, ns, key, staleMillis, &whole)
	item.Value = whole.value
	return item, err
}
