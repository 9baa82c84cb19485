package server

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

// deadlineSlack is added to the deadline that a command carries into the log, where it is
// compared with the leader's clock: clocks may differ by up to 5 s before a version is refused,
// and a command must not be refused only because a clock is ahead. What the deadline prevents is
// a write that is applied long after its caller was told that its outcome is unknown.
const deadlineSlack = 5000

// Apply implements api.KV.
func (s *Server) Apply(ctx context.Context, b api.Batch) (api.Result, error) {
	bytes, err := checkBatch(&b)
	if err != nil {
		return api.Result{}, err
	}
	ctx, leave, err := s.gate.enter(ctx, int64(bytes))
	if err != nil {
		return api.Result{}, err
	}
	defer leave()
	ctx, cancel := s.withPartsTime(ctx, s.batchTime(&b, bytes))
	defer cancel()
	return s.applyBatch(ctx, b)
}

// applyBatch runs a checked batch. ctx has a deadline. A batch that only reads is a read: the
// shard answers it without an entry, and it has no outcome that could be unknown.
func (s *Server) applyBatch(ctx context.Context, b api.Batch) (api.Result, error) {
	request := b.Request
	b.Request = api.RequestID{}
	command := shard.Command{DeadlineMillis: s.commandDeadline(ctx), Batch: b}
	kind := read
	if !command.ReadsOnly() {
		if kind = write; request.IsZero() {
			id, release := s.opts.Sessions.Begin()
			defer release()
			request = id
		}
		command.Request = request
		if inPieces(&b) {
			return s.applyInParts(ctx, command)
		}
	}
	return s.applyCommand(ctx, kind, command)
}

// applyCommand runs a command on the leader of its shard.
func (s *Server) applyCommand(ctx context.Context, kind access, command shard.Command) (api.Result, error) {
	b := &command.Batch
	var res api.Result
	err := s.route(ctx, router.Slot(b.Namespace, b.Ops[0].Key), kind, func(ctx context.Context, at place) (err error) {
		for i := range b.Ops {
			op := &b.Ops[i]
			if !at.shard.Arc.Contains(router.Slot(b.Namespace, op.Key)) ||
				op.HasSource() && !at.shard.Arc.Contains(router.Slot(b.Namespace, op.Source)) {
				return errCrossShard()
			}
		}
		command.Epoch = at.shard.Epoch
		res, err = s.apply(ctx, at, kind, command)
		return err
	})
	return res, err
}

func errCrossShard() error {
	return api.Errorf(api.CodeCrossShard, "the keys of a batch must live on one shard; keys with one {hash tag} do")
}

// commandDeadline turns the deadline of ctx into shard time.
func (s *Server) commandDeadline(ctx context.Context) uint64 {
	deadline, _ := ctx.Deadline()
	remaining := max(deadline.Sub(clock.Real{}.Now()), 0)
	return clock.Millis(s.opts.Clock) + uint64(remaining.Milliseconds()) + deadlineSlack
}

// Get implements api.KV.
func (s *Server) Get(ctx context.Context, ns api.Namespace, key []byte) (api.Item, error) {
	items, err := s.MultiGet(ctx, ns, [][]byte{key})
	if err != nil {
		return api.Item{}, err
	}
	return items[0], nil
}

// MultiGet implements api.KV.
func (s *Server) MultiGet(ctx context.Context, ns api.Namespace, keys [][]byte) ([]api.Item, error) {
	return s.Read(ctx, Query{Namespace: ns, Keys: keys})
}

// Query is a read of keys.
type Query struct {
	Namespace api.Namespace
	Keys      [][]byte
	// MaxStaleness allows an answer that was true at some time within the last so long, which
	// any replica may give; 0 asks for a linearizable one.
	MaxStaleness time.Duration
	// Here wants the replicas on this node to answer or nobody: what they cannot prove to be
	// fresh enough fails with CodeTooStale. Only with MaxStaleness.
	Here bool
}

func (q *Query) check() error {
	if q.Here && q.MaxStaleness == 0 {
		return api.Errorf(api.CodeInvalid, "a read by the replicas of this node needs a bound of staleness")
	}
	if err := checkStaleness(q.MaxStaleness); err != nil {
		return err
	}
	return checkKeys(q.Namespace, q.Keys)
}

// Read reads keys, one item for each in their order: all shards in parallel, each by its own
// leader or, with MaxStaleness, by a replica that can prove to be fresh enough. A value of more than
// api.MaxWholeBytes is refused as TOO_LARGE; OpenValue reads it.
func (s *Server) Read(ctx context.Context, q Query) ([]api.Item, error) {
	if err := q.check(); err != nil || len(q.Keys) == 0 {
		return nil, err
	}
	bytes := 0
	for _, key := range q.Keys {
		bytes += len(key)
	}
	ctx, leave, err := s.gate.enter(ctx, int64(bytes))
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := s.withDeadline(ctx)
	defer cancel()
	m := multiGet{
		server: s, ns: q.Namespace, keys: q.Keys, fresh: freshness{bound: q.MaxStaleness, here: q.Here},
		items: make([]api.Item, len(q.Keys)), bytes: replyBudget{gate: s.gate},
	}
	defer m.bytes.release()
	if err := m.run(ctx); err != nil {
		return nil, err
	}
	if err := s.whole(ctx, m.items, func(int) bool { return true }, &m.bytes); err != nil {
		return nil, err
	}
	return m.items, nil
}

// groups splits the keys with the given indexes by the shard that owns them now. Keys that share
// a shard keep their order.
func (s *Server) groups(ns api.Namespace, count int, key func(i int) []byte) ([][]int, error) {
	table := s.opts.Router.Table()
	if table == nil {
		return nil, errNoMap()
	}
	place := make(map[api.ShardID]int)
	var groups [][]int
	for i := range count {
		id := table.ShardOf(router.Slot(ns, key(i))).ID
		at, ok := place[id]
		if !ok {
			at = len(groups)
			place[id] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], i)
	}
	return groups, nil
}

// multiGet is one Read under way. Each group writes its own items.
type multiGet struct {
	server *Server
	ns     api.Namespace
	keys   [][]byte
	fresh  freshness
	items  []api.Item
	bytes  replyBudget
}

func (m *multiGet) run(ctx context.Context) error {
	if len(m.keys) == 1 {
		return m.readGroup(ctx, []int{0})
	}
	groups, err := m.server.groups(m.ns, len(m.keys), func(i int) []byte { return m.keys[i] })
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, group := range groups {
		g.Go(func() error { return m.readGroup(ctx, group) })
	}
	return g.Wait()
}

// readGroup reads the keys with the given indexes. They lived on one shard when they were
// grouped; if that is so no more, each turn reads those that live with the first.
func (m *multiGet) readGroup(ctx context.Context, group []int) error {
	for len(group) > 0 {
		var taken, left []int
		var items []api.Item
		err := m.server.routeRead(ctx, router.Slot(m.ns, m.keys[group[0]]), m.fresh, func(ctx context.Context, at place) (err error) {
			taken, left = taken[:0], left[:0]
			var keys [][]byte
			for _, i := range group {
				if at.shard.Arc.Contains(router.Slot(m.ns, m.keys[i])) {
					taken, keys = append(taken, i), append(keys, m.keys[i])
				} else {
					left = append(left, i)
				}
			}
			items, err = m.server.get(ctx, at, m.ns, keys, &m.bytes)
			return err
		})
		if err != nil {
			return err
		}
		if err := m.bytes.addItems(items); err != nil {
			return err
		}
		for n := range items {
			m.items[taken[n]] = items[n]
		}
		group = append(append([]int(nil), taken[len(items):]...), left...)
	}
	return nil
}
