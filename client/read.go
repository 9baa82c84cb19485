package client

import (
	"context"
	"sync"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/router"
)

// multiGetWorkers bounds the reads that one MultiGet has in flight: enough to hide the network's
// round trip, few enough that one caller does not fill a node's queue.
const multiGetWorkers = 16

// Get implements api.KV.
func (c *Client) Get(ctx context.Context, ns api.Namespace, key []byte) (api.Item, error) {
	if err := validateKey(key); err != nil {
		return api.Item{}, err
	}
	op := &operation{name: "get", routed: true, slot: router.Slot(ns, key)}
	request := &pb.GetRequest{Namespace: uint32(ns), Key: key}
	var response *pb.GetResponse
	err := c.do(ctx, op, func(ctx context.Context, to *connection, o callOptions) error {
		var err error
		response, err = to.kv.Get(ctx, request, o...)
		return err
	})
	if err != nil {
		return api.Item{}, err
	}
	return getItem(key, response), nil
}

// MultiGet implements api.KV. The first error ends it.
func (c *Client) MultiGet(ctx context.Context, ns api.Namespace, keys [][]byte) ([]api.Item, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	items := make([]api.Item, len(keys))
	failures := make(chan error, multiGetWorkers) // one worker sends at most one
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(multiGetWorkers, len(keys)) {
		workers.Go(func() {
			for i := range next {
				item, err := c.Get(ctx, ns, keys[i])
				if err != nil {
					failures <- err
					cancel()
					return
				}
				items[i] = item
			}
		})
	}
	for i := range keys {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
	select {
	case err := <-failures:
		return nil, err
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, (&operation{name: "multiget"}).giveUp(err)
	}
	return items, nil
}
