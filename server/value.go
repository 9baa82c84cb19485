package server

import (
	"context"
	"io"

	"github.com/lightning-db/lightning/api"
)

// Value is one key as a read found it, whose value is taken piece by piece. It is not for concurrent use.
type Value struct {
	// Item is without its Value.
	api.Item
	// Bytes is the length of the value.
	Bytes uint64

	server *Server
	ctx    context.Context
	close  []func() // in the order in which they are called
	inline []byte   // of a value that is not in parts, what was not taken
	parts  storedReader
	skip   uint64 // bytes of the next part that are not asked for
	left   uint64 // bytes that were not taken
}

// NewValue is an item that is in memory with its value, for stand-ins of a Server.
func NewValue(item api.Item) *Value {
	v := &Value{Item: item, Bytes: uint64(len(item.Value)), inline: item.Value}
	v.Value = nil
	return v
}

// OpenValue reads one key, which is the query's only one, and leaves its value to be taken with Next, within ctx.
// It is closed with Close, also when nothing was found.
func (s *Server) OpenValue(ctx context.Context, q Query) (*Value, error) {
	if len(q.Keys) != 1 {
		return nil, api.Errorf(api.CodeInvalid, "%d keys are to be read piece by piece, and it goes key by key", len(q.Keys))
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	opened, leave, err := s.gate.enter(ctx, int64(len(q.Keys[0])))
	if err != nil {
		return nil, err
	}
	v := &Value{server: s, ctx: opened, close: []func(){leave}}
	if err := v.find(q); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// find reads the key.
func (v *Value) find(q Query) error {
	ctx, cancel := v.server.withDeadline(v.ctx)
	defer cancel()
	m := &multiGet{
		server: v.server, ns: q.Namespace, keys: q.Keys, fresh: freshness{bound: q.MaxStaleness, here: q.Here},
		items: make([]api.Item, 1), bytes: replyBudget{gate: v.server.gate},
	}
	v.close = append([]func(){m.bytes.release}, v.close...)
	if err := m.run(ctx); err != nil {
		return err
	}
	v.Item, v.inline = m.items[0], m.items[0].Value
	v.Item.Value, v.Item.Key = nil, q.Keys[0]
	if v.Bytes = uint64(len(v.inline)); v.Stored != nil {
		return v.openStored(0, v.Stored.Bytes)
	}
	return nil
}

// OpenStored opens the bytes [start, end) of a value in parts that a read has found.
func (s *Server) OpenStored(ctx context.Context, stored *api.Stored, start, end uint64) (*Value, error) {
	if start > end || end > stored.Bytes {
		return nil, api.Errorf(api.CodeInvalid, "the range [%d, %d) does not lie in a value of %d bytes", start, end, stored.Bytes)
	}
	ctx, leave, err := s.gate.enter(ctx, 0)
	if err != nil {
		return nil, err
	}
	v := &Value{server: s, ctx: ctx, close: []func(){leave}, Item: api.Item{Found: true, Stored: stored}}
	if err := v.openStored(start, end); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// openStored finds room for the pieces of a value in parts, one of which is in memory at a time.
func (v *Value) openStored(start, end uint64) error {
	const held = api.MaxInlineBytes
	if err := v.server.gate.grow(held); err != nil {
		return err
	}
	v.close = append([]func(){func() { v.server.gate.shrink(held) }}, v.close...)
	v.Bytes, v.left, v.skip = v.Stored.Bytes, end-start, start%api.MaxPartBytes
	v.parts = storedReader{
		server: v.server, stored: v.Stored, next: uint32(start / api.MaxPartBytes), end: api.PartCount(end),
		partly: start > 0 || api.PartCount(end) < v.Stored.Count,
	}
	return nil
}

// Next is the next piece of the value, at most api.MaxInlineBytes, valid until the next call; io.EOF behind the
// last one, which is given only if the value as a whole has its checksum. If the context has no deadline, each piece
// has the time of a request. SNAPSHOT_TOO_OLD: the value was replaced while it was read, longer ago than
// the shard keeps it. Any other error may pass, and Next may be called again.
func (v *Value) Next() ([]byte, error) {
	if v.inline != nil {
		piece := v.inline
		if v.inline = nil; len(piece) > 0 {
			return piece, nil
		}
	}
	if v.left == 0 {
		return nil, io.EOF
	}
	ctx, cancel := v.server.withDeadline(v.ctx)
	defer cancel()
	piece, err := v.parts.read(ctx)
	if err != nil {
		return nil, err
	}
	piece = piece[v.skip:]
	piece = piece[:min(uint64(len(piece)), v.left)]
	v.skip, v.left = 0, v.left-uint64(len(piece))
	return piece, nil
}

// Close gives back what the value held.
func (v *Value) Close() {
	for _, give := range v.close {
		give()
	}
	v.close = nil
}
