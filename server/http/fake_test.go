package http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/server"
)

// store is one shard in memory, as far as requests by HTTP can see it.
type store struct {
	mu      sync.Mutex
	items   map[string]api.Item
	version api.Version
	queries []server.Query
	// fail, when set, is the answer to every read and write, and to a scan after its second item.
	fail error
	// before, when set, is called by PutValue before each piece.
	before func()
}

func (s *store) Read(_ context.Context, q server.Query) ([]api.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, q)
	if s.fail != nil {
		return nil, s.fail
	}
	if len(q.Keys[0]) == 0 {
		return nil, api.Errorf(api.CodeInvalid, "a key needs at least one byte")
	}
	return []api.Item{s.items[string(q.Keys[0])]}, nil
}

func (s *store) Apply(ctx context.Context, b api.Batch) (api.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return api.Result{}, s.fail
	}
	if s.items == nil {
		s.items = make(map[string]api.Item)
	}
	op := b.Ops[0]
	if len(op.Value) > api.MaxValueBytes {
		return api.Result{}, api.Errorf(api.CodeTooLarge, "too large")
	}
	old := s.items[string(op.Key)]
	switch c := op.Condition; c.Kind {
	case api.ConditionAbsent, api.ConditionPresent:
		if old.Found != (c.Kind == api.ConditionPresent) {
			return api.Result{}, nil
		}
	case api.ConditionVersion:
		if old.Version != c.Version {
			return api.Result{}, nil
		}
	}
	s.version++
	item := api.Item{Key: bytes.Clone(op.Key), Value: bytes.Clone(op.Value), Version: s.version, Found: true}
	result := api.OpResult{Existed: old.Found, Applied: true}
	switch op.Kind {
	case api.OpDelete:
		delete(s.items, string(op.Key))
		return api.Result{Applied: true, Version: s.version, Ops: []api.OpResult{result}}, nil
	case api.OpIncrement:
		n, err := strconv.ParseInt(string(old.Value), 10, 64)
		if old.Found && err != nil {
			return api.Result{}, api.Errorf(api.CodeNotInteger, "the value is not an integer")
		}
		result.Number = n + op.Delta
		item.Value = strconv.AppendInt(nil, result.Number, 10)
	}
	switch op.Expiry.Mode {
	case api.ExpiryAt:
		item.ExpiryMillis = op.Expiry.Millis
	case api.ExpiryAfter:
		item.ExpiryMillis = 1_000_000 + op.Expiry.Millis
	case api.ExpiryKeep:
		item.ExpiryMillis = old.ExpiryMillis
	}
	s.items[string(op.Key)] = item
	return api.Result{Applied: true, Version: s.version, Ops: []api.OpResult{result}}, nil
}

func (s *store) OpenValue(ctx context.Context, q server.Query) (*server.Value, error) {
	items, err := s.Read(ctx, q)
	if err != nil {
		return nil, err
	}
	return server.ValueOf(items[0]), nil
}

func (s *store) PutValue(ctx context.Context, p server.Put, next func() ([]byte, error)) (api.Result, error) {
	op := api.Op{Kind: api.OpPut, Key: p.Key, Expiry: p.Expiry, Condition: p.Condition}
	for {
		if s.before != nil {
			s.before()
		}
		piece, err := next()
		if errors.Is(err, io.EOF) {
			return s.Apply(ctx, api.Batch{Ops: []api.Op{op}})
		}
		if err != nil {
			return api.Result{}, err
		}
		if op.Value = append(op.Value, piece...); len(op.Value) > api.MaxValueBytes {
			return api.Result{}, api.Errorf(api.CodeTooLarge, "too large")
		}
	}
}

func (s *store) Scan(_ context.Context, r api.Range) iter.Seq2[api.Item, error] {
	return func(yield func(api.Item, error) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		keys := slices.Sorted(maps.Keys(s.items))
		if r.Reverse {
			slices.Reverse(keys)
		}
		count := uint64(0)
		for _, key := range keys {
			if key < string(r.Start) || len(r.End) > 0 && key >= string(r.End) {
				continue
			}
			if s.fail != nil && count == 2 {
				yield(api.Item{}, s.fail)
				return
			}
			if count++; r.Limit > 0 && count > r.Limit || !yield(s.items[key], nil) {
				return
			}
		}
	}
}

func (s *store) Status() *pb.StatusResponse {
	return &pb.StatusResponse{NodeId: "id", Name: "node-1", Version: "v", Ready: true, Map: &pb.ClusterMap{ClusterId: "c", Revision: 7}}
}
