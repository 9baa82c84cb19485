package client

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/router"
)

const (
	// multiGetWorkers bounds the requests that one MultiGet has in flight: enough for a request
	// to every node of a usual cluster, few enough that one caller does not fill a node's queue.
	multiGetWorkers = 16

	// multiGetKeys bounds the keys of one request. A thousand small values are a message of about
	// 100 KiB, beyond which larger messages save nothing.
	multiGetKeys = 1024

	// multiGetKeyBytes bounds the keys of one request in bytes, so that it stays a small part of
	// what a node admits at one time.
	multiGetKeyBytes = 1 << 20
)

// MultiGet implements api.KV. The keys are divided by the nodes that lead their shards, and asked
// for in parallel. The first error ends it. It takes up to api.MaxBatchOps keys; the values
// together have no limit but the caller's memory.
func (c *Client) MultiGet(ctx context.Context, ns api.Namespace, keys [][]byte) ([]api.Item, error) {
	return c.multiGet(ctx, ns, keys, 0)
}

func (c *Client) multiGet(ctx context.Context, ns api.Namespace, keys [][]byte, staleMillis uint32) ([]api.Item, error) {
	if err := validateKeys(keys); err != nil {
		return nil, err
	}
	m := &multiGet{client: c, ns: ns, keys: keys, staleMillis: staleMillis, items: make([]api.Item, len(keys))}
	parts := m.divide()
	if len(parts) == 1 {
		return m.result(m.read(ctx, parts[0]))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(multiGetWorkers)
	for _, p := range parts {
		group.Go(func() error { return m.read(ctx, p) })
	}
	return m.result(group.Wait())
}

// multiGet is one call of MultiGet. Each worker writes the items of its own parts.
type multiGet struct {
	client      *Client
	ns          api.Namespace
	keys        [][]byte
	staleMillis uint32
	items       []api.Item
}

// part is one request: places in keys, and the connection to try first, nil when any will do.
type part struct {
	to    *connection
	bytes int
	at    []int
}

func (m *multiGet) result(err error) ([]api.Item, error) {
	if err != nil {
		return nil, err
	}
	return m.items, nil
}

// divide groups the keys by the node to ask. If that is the wrong one by the time it is asked, it
// forwards, or the request is tried elsewhere as a whole: every node answers for every key.
func (m *multiGet) divide() []*part {
	var parts []*part
	filling := make(map[*connection]*part)
	shards := make(map[api.ShardID]*connection)
	for i, key := range m.keys {
		to := m.nodeFor(router.Slot(m.ns, key), shards)
		p := filling[to]
		if p == nil || len(p.at) == multiGetKeys || p.bytes+len(key) > multiGetKeyBytes {
			p = &part{to: to}
			parts, filling[to] = append(parts, p), p
		}
		p.at = append(p.at, i)
		p.bytes += len(key)
	}
	return parts
}

// nodeFor is the node to ask for a slot, the same for all slots of a shard.
func (m *multiGet) nodeFor(slot api.Slot, shards map[api.ShardID]*connection) *connection {
	t := m.client.router.Table()
	if t == nil {
		return nil
	}
	shard := t.ShardOf(slot).ID
	if to, ok := shards[shard]; ok {
		return to
	}
	var to *connection
	if m.staleMillis > 0 {
		to, _ = m.client.choose(&operation{routed: true, slot: slot, stale: true}) // nil when closed
	} else {
		to, _ = m.client.leaderOf(slot)
	}
	shards[shard] = to
	return to
}

// read asks for a part. What is too large for one message is asked for in halves, and a single value
// that is, piece by piece.
func (m *multiGet) read(ctx context.Context, p *part) error {
	err := m.request(ctx, p)
	if !errors.Is(err, api.ErrTooLarge) {
		return err
	}
	if len(p.at) == 1 {
		at := p.at[0]
		m.items[at], err = m.client.getLong(ctx, m.ns, m.keys[at], m.staleMillis)
		return err
	}
	half := len(p.at) / 2
	if err := m.read(ctx, &part{to: p.to, at: p.at[:half]}); err != nil {
		return err
	}
	return m.read(ctx, &part{to: p.to, at: p.at[half:]})
}

func (m *multiGet) request(ctx context.Context, p *part) error {
	request := &pb.MultiGetRequest{Namespace: uint32(m.ns), MaxStalenessMs: m.staleMillis, Keys: make([][]byte, len(p.at))}
	for i, at := range p.at {
		request.Keys[i] = m.keys[at]
	}
	op := &operation{
		name: "multiget", routed: true, slot: router.Slot(m.ns, request.Keys[0]), stale: m.staleMillis > 0, pinned: p.to,
	}
	var response *pb.MultiGetResponse
	err := m.client.do(ctx, op, func(ctx context.Context, to *connection, o callOptions) error {
		op.pinned = nil // for the attempts after this one
		answer, err := to.call(ctx, &pb.Call{Request: &pb.Call_MultiGet{MultiGet: request}}, p.bytes+len(p.at)*callBytes)
		if response = answer.GetMultiGet(); err == errUnary || err == errTooLong {
			response, err = to.kv.MultiGet(ctx, request, o...)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(response.GetItems()) != len(p.at) {
		return api.Errorf(api.CodeInternal, "multiget: %d items for %d keys", len(response.GetItems()), len(p.at))
	}
	for i, at := range p.at {
		m.items[at] = getItem(m.keys[at], response.GetItems()[i])
	}
	return nil
}
