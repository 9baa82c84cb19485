package server

import (
	"context"
	"time"

	"github.com/lightning-db/lightning/api"
)

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

// Read reads keys, one item for each in their order.
func (s *Server) Read(ctx context.Context, q Query) ([]api.Item, error) {
	return s.MultiGet(ctx, q.Namespace, q.Keys)
}

// Clear deletes every key of a namespace that exists when it is called. Keys that are written
// meanwhile may stay. After an error some keys are deleted and some are not.
func (s *Server) Clear(ctx context.Context, ns api.Namespace) error {
	return api.Errorf(api.CodeInternal, "not written yet")
}

// RandomKey is some key of a namespace; found is false when there is none.
func (s *Server) RandomKey(ctx context.Context, ns api.Namespace) (key []byte, found bool, err error) {
	return nil, false, api.Errorf(api.CodeInternal, "not written yet")
}

// SlotKeys are the keys of one slot in order, at most limit.
func (s *Server) SlotKeys(ctx context.Context, ns api.Namespace, slot api.Slot, limit int) ([][]byte, error) {
	return nil, api.Errorf(api.CodeInternal, "not written yet")
}

// SlotCount counts the keys of one slot.
func (s *Server) SlotCount(ctx context.Context, ns api.Namespace, slot api.Slot) (uint64, error) {
	return 0, api.Errorf(api.CodeInternal, "not written yet")
}
