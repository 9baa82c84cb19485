package server

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

// forward sends one request to another node. The connection must stand before the request is
// sent: then a peer that is down is a certain "not executed" and not an unknown outcome.
func (s *Server) forward(ctx context.Context, node api.NodeID, op string, kind access, call func(context.Context, peerv1.ForwardClient) error) (err error) {
	ctx, span := beginForward(ctx, node, op)
	defer func() { span.End(err) }()
	conn, err := s.opts.Peers.Conn(node, peers.Forward)
	if err != nil {
		return fmt.Errorf("forward %s: %w", op, err)
	}
	if err := ready(ctx, conn, node); err != nil {
		s.opts.OnForward(op, api.CodeOf(err))
		return err
	}
	err = api.FromStatus(call(ctx, peerv1.NewForwardClient(conn)), kind == write)
	s.opts.OnForward(op, api.CodeOf(err))
	return err
}

// beginForward begins the span of a request's way to another node and back.
func beginForward(ctx context.Context, node api.NodeID, op string) (context.Context, *trace.Span) {
	ctx, span := trace.Begin(ctx, "forward")
	span.Text("lightning.to", string(node))
	span.Text("lightning.op", op)
	return ctx, span
}

// ready waits until conn stands. A dial that fails ends the wait: another replica is asked then.
func ready(ctx context.Context, conn *grpc.ClientConn, node api.NodeID) error {
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Idle:
			conn.Connect()
		case connectivity.TransientFailure:
			return api.Errorf(api.CodeUnavailable, "node %s cannot be reached", node)
		case connectivity.Shutdown:
			return api.Errorf(api.CodeShuttingDown, "the node is stopping")
		}
		if !conn.WaitForStateChange(ctx, state) {
			return api.Errorf(api.CodeExpired, "node %s was not reached in time", node)
		}
	}
}

// apply runs a command at a place.
func (s *Server) apply(ctx context.Context, at place, kind access, c shard.Command) (api.Result, error) {
	if at.local != nil {
		return at.local.Apply(ctx, c)
	}
	o := s.applyElsewhere(ctx, at, []shard.Command{c})[0]
	if kind == read && api.CodeOf(o.Err) == api.CodeUnknownOutcome {
		o.Err = api.Errorf(api.CodeUnavailable, "%w", o.Err) // what only reads has no outcome
	}
	return o.Result, o.Err
}

// get reads keys of one shard at a place. It may answer fewer than asked, at least one.
func (s *Server) get(ctx context.Context, at place, ns api.Namespace, keys [][]byte, bytes *replyBudget) ([]api.Item, error) {
	if at.local != nil {
		return s.getLocal(ctx, s.readKeys(at.local, at.shard.ID, at.shard.Epoch, ns, at.bound), keys, bytes)
	}
	list, err := s.getForwarded(ctx, at, ns, keys, bytes)
	if err != nil {
		return nil, err
	}
	items, err := itemsFromPeer(at, list)
	for i := range items {
		items[i].Key = keys[i]
	}
	return items, err
}

// getForwarded reads keys at another node: together with what others read there, unless the answer is
// long.
func (s *Server) getForwarded(ctx context.Context, at place, ns api.Namespace, keys [][]byte, bytes *replyBudget) ([]*peerv1.ForwardItem, error) {
	if !bytes.large.Load() {
		items, err := s.getElsewhere(ctx, at, ns, keys)
		if !errors.Is(err, errTooLong) {
			s.opts.OnForward("get", api.CodeOf(err))
			return items, err
		}
		bytes.large.Store(true)
	}
	var res *peerv1.ForwardGetResponse
	req := &peerv1.ForwardGetRequest{
		ShardId: uint64(at.shard.ID), Epoch: uint64(at.shard.Epoch), Namespace: uint32(ns), Keys: keys, MaxStalenessMs: millis(at.bound),
	}
	var refused error
	err := s.forward(ctx, at.node, "get", read, func(ctx context.Context, client peerv1.ForwardClient) (err error) {
		refused = s.fetch(ctx, func() { res, err = client.Get(ctx, req) })
		return err
	})
	if err = cmp.Or(err, refused); err != nil {
		return nil, err
	}
	if len(res.Items) == 0 || len(res.Items) > len(keys) {
		return nil, api.Errorf(api.CodeInternal, "node %s answered %d of %d keys", at.node, len(res.Items), len(keys))
	}
	return res.Items, nil
}

const (
	// smallAnswerBytes is what a read takes in from another node together with others, and before there
	// is room for more: a longer answer is asked for again, which costs little beside what it takes to
	// send it.
	smallAnswerBytes = 1 << 20
	// maxAnswerBytes are about those of the longest answer, see maxGetBytes.
	maxAnswerBytes = maxGetBytes + api.MaxInlineBatchBytes
)

// getLocal reads keys of a replica on this node.
func (s *Server) getLocal(ctx context.Context, read readKeys, keys [][]byte, bytes *replyBudget) (items []api.Item, err error) {
	if !bytes.large.Load() {
		items, err = read(ctx, keys[:min(len(keys), maxGetKeys)])
		if !errors.Is(err, api.ErrTooLarge) || len(keys) == 1 {
			return items, err
		}
		bytes.large.Store(true)
	}
	refused := s.fetch(ctx, func() { items, err = getSome(ctx, read, keys) })
	return items, cmp.Or(refused, err)
}

// fetch runs get, which brings a long answer in, once there is room for one.
func (s *Server) fetch(ctx context.Context, get func()) error {
	select {
	case s.fetching <- struct{}{}:
	case <-ctx.Done():
		return api.Errorf(api.CodeOverloaded, "too many large reads are being worked on; slow down")
	}
	defer func() { <-s.fetching }()
	if err := s.gate.grow(maxAnswerBytes); err != nil {
		return err
	}
	defer s.gate.shrink(maxAnswerBytes)
	get()
	return nil
}

// scanPage reads one page of a range of one shard at a place.
func (s *Server) scanPage(ctx context.Context, at place, r api.Range) (shard.Page, error) {
	if at.local != nil {
		return s.scanLocal(ctx, at.local, at.shard.ID, at.shard.Epoch, r, at.bound)
	}
	var res *peerv1.ForwardScanPageResponse
	req := &peerv1.ForwardScanPageRequest{
		ShardId: uint64(at.shard.ID), Epoch: uint64(at.shard.Epoch), Namespace: uint32(r.Namespace),
		Start: r.Start, End: r.End, Reverse: r.Reverse, Limit: r.Limit, KeysOnly: r.KeysOnly, MaxStalenessMs: millis(at.bound),
	}
	err := s.forward(ctx, at.node, "scan", read, func(ctx context.Context, client peerv1.ForwardClient) (err error) {
		res, err = client.ScanPage(ctx, req)
		return err
	})
	if err != nil {
		return shard.Page{}, err
	}
	items, err := itemsFromPeer(at, res.Items)
	if err != nil {
		return shard.Page{}, err
	}
	return shard.Page{
		Items: items, Arc: router.Arc{Start: res.StartSlot, End: res.EndSlot},
		More: res.More, Resume: res.Resume,
	}, nil
}

// count counts the keys of one shard at a place.
func (s *Server) count(ctx context.Context, at place, ns api.Namespace) (uint64, error) {
	if at.local != nil {
		return at.local.Count(ctx, at.shard.Epoch, ns)
	}
	var res *peerv1.ForwardCountResponse
	req := &peerv1.ForwardCountRequest{ShardId: uint64(at.shard.ID), Epoch: uint64(at.shard.Epoch), Namespace: uint32(ns)}
	err := s.forward(ctx, at.node, "count", read, func(ctx context.Context, client peerv1.ForwardClient) (err error) {
		res, err = client.Count(ctx, req)
		return err
	})
	if err != nil {
		return 0, err
	}
	return res.Count, nil
}

// cursor asks another node where a SCAN cursor of its goes on.
func (s *Server) cursor(ctx context.Context, node api.NodeID, handle uint64) (position, bool, error) {
	var res *peerv1.ForwardCursorResponse
	err := s.forward(ctx, node, "cursor", read, func(ctx context.Context, client peerv1.ForwardClient) (err error) {
		res, err = client.Cursor(ctx, &peerv1.ForwardCursorRequest{Handle: handle})
		return err
	})
	if err != nil {
		return position{}, false, err
	}
	return position{slot: api.Slot(res.Slot), start: res.Start}, res.Found && res.Slot < api.SlotCount, nil
}

func resultFromPeer(m *peerv1.ForwardResult) api.Result {
	res := api.Result{Applied: m.Applied, FailedOp: int(m.FailedOp), Version: api.Version(m.Version)}
	if len(m.Results) > 0 {
		res.Ops = make([]api.OpResult, len(m.Results))
	}
	for i, o := range m.Results {
		res.Ops[i] = api.OpResult{
			Applied: o.Applied, Code: api.Code(o.ErrorCode), Existed: o.Existed, Previous: o.Previous,
			PreviousVersion: api.Version(o.PreviousVersion), PreviousExpiry: o.PreviousExpiryMs, Number: o.Number, Text: o.Text,
		}
	}
	return res
}

func resultToPeer(res api.Result) *peerv1.ForwardResult {
	m := &peerv1.ForwardResult{Applied: res.Applied, FailedOp: uint32(res.FailedOp), Version: uint64(res.Version)}
	for _, o := range res.Ops {
		m.Results = append(m.Results, &peerv1.ForwardOpResult{
			Applied: o.Applied, ErrorCode: string(o.Code), Existed: o.Existed, Previous: o.Previous,
			PreviousVersion: uint64(o.PreviousVersion), PreviousExpiryMs: o.PreviousExpiry, Number: o.Number, Text: o.Text,
		})
	}
	return m
}

// itemsFromPeer fails when an item was damaged on its way.
func itemsFromPeer(at place, list []*peerv1.ForwardItem) ([]api.Item, error) {
	items := make([]api.Item, len(list))
	for i, m := range list {
		if m.Checksum != itemChecksum(m) {
			return nil, api.Errorf(api.CodeUnavailable, "an answer of node %s was damaged on its way", at.node)
		}
		items[i] = api.Item{Key: m.Key, Value: m.Value, Version: api.Version(m.Version), ExpiryMillis: m.ExpiryMs, Found: m.Found, Stored: storedFromPeer(at.shard.ID, m.Parts)}
	}
	return items, nil
}

// itemChecksum is what an item carries as its checksum (P4).
func itemChecksum(m *peerv1.ForwardItem) uint32 {
	if seededbug.Enabled(seededbug.ServerSkipChecksum) {
		return 0
	}
	var head [17]byte
	binary.LittleEndian.PutUint64(head[:], m.Version)
	binary.LittleEndian.PutUint64(head[8:], m.ExpiryMs)
	if m.Found {
		head[16] = 1
	}
	sum := crc32.Checksum(head[:], castagnoli)
	sum = crc32.Update(crc32.Update(sum, castagnoli, m.Key), castagnoli, m.Value)
	if p := m.Parts; p != nil {
		var parts [32]byte
		binary.LittleEndian.PutUint64(parts[:], p.Id)
		binary.LittleEndian.PutUint32(parts[8:], p.First)
		binary.LittleEndian.PutUint64(parts[12:], p.Bytes)
		binary.LittleEndian.PutUint32(parts[20:], p.Checksum)
		binary.LittleEndian.PutUint64(parts[24:], p.At)
		sum = crc32.Update(sum, castagnoli, parts[:])
	}
	return sum
}

func itemsToPeer(items []api.Item, withKeys bool) []*peerv1.ForwardItem {
	list, messages := make([]*peerv1.ForwardItem, len(items)), make([]peerv1.ForwardItem, len(items))
	for i, item := range items {
		m := &messages[i]
		m.Value, m.Version, m.ExpiryMs, m.Found = item.Value, uint64(item.Version), item.ExpiryMillis, item.Found
		m.Parts = storedToPeer(item.Stored)
		if withKeys {
			m.Key = item.Key
		}
		m.Checksum = itemChecksum(m)
		list[i] = m
	}
	return list
}
