package server

import (
	"bytes"
	"container/list"
	"context"
	"sync"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
)

// A SCAN cursor is a number below 2^53, because some clients keep it in a double:
//
//	| 17 bits: ordinal of the node | 36 bits: handle |
//
// 0 begins a scan and ends it. Ordinals are never reused, so a cursor of a node that is gone
// finds nobody and its scan begins again, which SCAN permits.
const (
	cursorHandleBits  = 36
	cursorOrdinalBits = 53 - cursorHandleBits
	// maxCursorCount bounds the cursors kept on one node: two for each scan under way.
	maxCursorCount = 1024
)

func encodeCursor(ordinal uint32, handle uint64) uint64 {
	return uint64(ordinal)<<cursorHandleBits | handle
}

func decodeCursor(cursor uint64) (ordinal uint32, handle uint64, ok bool) {
	if cursor>>(cursorHandleBits+cursorOrdinalBits) != 0 {
		return 0, 0, false
	}
	return uint32(cursor >> cursorHandleBits), cursor & (1<<cursorHandleBits - 1), true
}

// position is where a SCAN goes on: it visits the shards in the order of their arcs, each one's
// keys in order. A slot and a key mean the same after a shard was split.
type position struct {
	slot  api.Slot
	start []byte
}

// cursorTable keeps the positions behind handles. Handles are random, so that one from before a
// restart is unknown and does not name another scan's position.
type cursorTable struct {
	max     int
	entropy entropy.Source

	// mu is a leaf.
	mu struct {
		sync.Mutex
		byHandle map[uint64]*list.Element // of *cursorEntry
		byUse    *list.List               // last used in front
	}
}

type cursorEntry struct {
	handle uint64
	at     position
	// before is the handle that this scan came from. It stays valid, so that a client that got
	// no answer can ask again, until this one is used.
	before uint64
}

func newCursorTable(maxCount int, e entropy.Source) *cursorTable {
	t := &cursorTable{max: maxCount, entropy: e}
	t.mu.byHandle = make(map[uint64]*list.Element)
	t.mu.byUse = list.New()
	return t
}

// add keeps a position; before is the handle that the scan came from, 0 for its first page. When
// the table is full the cursor that was used longest ago is forgotten.
func (t *cursorTable) add(at position, before uint64) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	handle, err := t.freshLocked()
	if err != nil {
		return 0, err
	}
	t.mu.byHandle[handle] = t.mu.byUse.PushFront(&cursorEntry{handle: handle, at: at, before: before})
	for t.mu.byUse.Len() > t.max {
		t.removeLocked(t.mu.byUse.Back())
	}
	return handle, nil
}

func (t *cursorTable) freshLocked() (uint64, error) {
	for {
		random, err := t.entropy.Uint64()
		if err != nil {
			return 0, api.Errorf(api.CodeInternal, "make a cursor: %w", err)
		}
		handle := random & (1<<cursorHandleBits - 1)
		if _, taken := t.mu.byHandle[handle]; handle != 0 && !taken {
			return handle, nil
		}
	}
}

// resolve finds the position behind a handle and forgets the cursor before it.
func (t *cursorTable) resolve(handle uint64) (position, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	element, ok := t.mu.byHandle[handle]
	if !ok {
		return position{}, false
	}
	t.mu.byUse.MoveToFront(element)
	entry := element.Value.(*cursorEntry)
	if before, ok := t.mu.byHandle[entry.before]; ok {
		t.removeLocked(before)
	}
	return entry.at, true
}

func (t *cursorTable) removeLocked(e *list.Element) {
	t.mu.byUse.Remove(e)
	delete(t.mu.byHandle, e.Value.(*cursorEntry).handle)
}

// CursorPage is what ScanCursor found.
type CursorPage struct {
	Keys [][]byte
	// Next is the cursor to go on from, 0 when the scan is complete.
	Next uint64
}

// maxCursorPages bounds the empty pages that one ScanCursor reads through.
const maxCursorPages = 32

// ScanCursor reads about count keys that begin with prefix, going on from cursor, which may be
// of any node; 0 begins. Every key that is there during the whole scan is yielded at least once.
// An unknown cursor begins again.
func (s *Server) ScanCursor(ctx context.Context, ns api.Namespace, cursor uint64, count int, prefix []byte) (CursorPage, error) {
	r := api.PrefixRange(prefix)
	r.Namespace, r.KeysOnly = ns, true
	r.Limit = uint64(min(max(count, 1), api.MaxScanPageItems))
	if err := checkRange(&r); err != nil {
		return CursorPage{}, err
	}
	ctx, leave, err := s.gate.enter(ctx, api.MaxScanPageBytes)
	if err != nil {
		return CursorPage{}, err
	}
	defer leave()
	ctx, cancel := s.withDeadline(ctx)
	defer cancel()
	ordinal, ok := s.ordinal()
	if !ok {
		return CursorPage{}, api.Errorf(api.CodeNotReady, "this node is not in the cluster map yet")
	}
	at, before := s.resolveCursor(ctx, cursor, ordinal)
	keys, next, err := s.cursorKeys(ctx, at, r)
	if err != nil || next == nil {
		return CursorPage{Keys: keys}, err
	}
	handle, err := s.cursors.add(*next, before)
	return CursorPage{Keys: keys, Next: encodeCursor(ordinal, handle)}, err
}

// cursorKeys reads on from a position until there are keys, and says where to go on; nil at the
// end of the last shard.
func (s *Server) cursorKeys(ctx context.Context, at position, r api.Range) ([][]byte, *position, error) {
	first := r.Start
	for range maxCursorPages {
		r.Start = first
		if bytes.Compare(at.start, first) > 0 {
			r.Start = at.start
		}
		page, err := s.readPage(ctx, at.slot, r)
		if err != nil {
			return nil, nil, err
		}
		keys := make([][]byte, len(page.Items))
		for i := range page.Items {
			keys[i] = page.Items[i].Key
		}
		switch {
		case page.More:
			at.start = page.Resume
		case page.Arc.End >= api.SlotCount:
			return keys, nil, nil
		default:
			at = position{slot: api.Slot(page.Arc.End)}
		}
		if len(keys) > 0 {
			return keys, &at, nil
		}
	}
	return nil, &at, nil
}

// resolveCursor finds where a scan goes on: here, on the node that gave the cursor out, or, when
// nobody knows it, at the beginning.
func (s *Server) resolveCursor(ctx context.Context, cursor uint64, own uint32) (at position, before uint64) {
	ordinal, handle, ok := decodeCursor(cursor)
	if !ok || handle == 0 {
		return position{}, 0
	}
	if ordinal == own {
		at, found := s.cursors.resolve(handle)
		if !found {
			return position{}, 0
		}
		return at, handle
	}
	for _, node := range s.opts.Router.Table().Map().GetNodes() {
		if node.Ordinal != ordinal {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, s.opts.AttemptTimeout)
		defer cancel()
		at, found, err := s.cursor(ctx, api.NodeID(node.Id), handle)
		if err == nil && found {
			return at, 0
		}
	}
	return position{}, 0
}

// ordinal is this node's number in the map.
func (s *Server) ordinal() (uint32, bool) {
	table := s.opts.Router.Table()
	if table == nil {
		return 0, false
	}
	node, ok := table.Node(s.opts.Node)
	if !ok || node.Ordinal >= 1<<cursorOrdinalBits {
		return 0, false
	}
	return node.Ordinal, true
}
