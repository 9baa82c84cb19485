package resp

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Store in a map, with the clock's time as shard time.
type memory struct {
	clock *clock.Manual

	mu      sync.Mutex
	items   map[string]api.Item
	version api.Version
	fail    error                     // answer of everything
	before  func(ctx context.Context) // runs first in every Apply
	batches []api.Batch               // that were applied
	onRead  func(server.Query) error  // may refuse a Read
	onTurn  func(*server.Turn)        // sees every turn
	turns   int                       // that were run
	// openStored, when set, opens values of items that are Stored.
	openStored func(stored *api.Stored, start, end uint64) (server.Pieces, error)
	undone     int // if not 0, the requests of a turn behind so many are left undone
}

func (m *memory) get(key []byte) api.Item {
	item := m.items[string(key)]
	item.Key = key
	if item.Found && item.ExpiryMillis != 0 && item.ExpiryMillis <= clock.Millis(m.clock) {
		return api.Item{Key: key}
	}
	return item
}

func (m *memory) Read(_ context.Context, q server.Query) ([]api.Item, error) {
	keys := q.Keys
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.onRead != nil {
		if err := m.onRead(q); err != nil {
			return nil, err
		}
	}
	items := make([]api.Item, len(keys))
	for i, key := range keys {
		if len(key) == 0 {
			return nil, api.Errorf(api.CodeInvalid, "a key needs at least one byte")
		}
		items[i] = m.get(key)
	}
	return items, m.fail
}

func (m *memory) Apply(ctx context.Context, b api.Batch) (api.Result, error) {
	m.mu.Lock()
	before := m.before
	m.mu.Unlock()
	if before != nil {
		before(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return api.Result{}, m.fail
	}
	m.batches = append(m.batches, b)
	e := evaluate.Evaluator{Version: m.nextVersion(), Lookup: m.lookup}
	if _, refusal := evaluate.Check(&b); refusal != nil {
		return api.Result{}, refusal
	}
	res, refusal, err := e.Run(&b)
	if refusal != nil {
		return api.Result{}, refusal
	}
	if err != nil {
		return api.Result{}, err
	}
	for _, w := range e.Writes() {
		if w.Row.Live {
			m.items[string(w.Key)] = api.Item{Value: w.Row.Value, Version: w.Row.Version, ExpiryMillis: w.Row.ExpiryMillis, Found: true}
		} else {
			delete(m.items, string(w.Key))
		}
	}
	return res, nil
}

// OpenStored implements Store: what a test has named is numbered bytes.
func (m *memory) OpenStored(_ context.Context, stored *api.Stored, start, end uint64) (server.Pieces, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.openStored == nil {
		return nil, api.Errorf(api.CodeInternal, "nothing is stored in parts")
	}
	return m.openStored(stored, start, end)
}

func (m *memory) lookup(key []byte) (evaluate.Row, error) {
	item := m.items[string(key)]
	return evaluate.Row{Value: item.Value, Version: item.Version, ExpiryMillis: item.ExpiryMillis, Live: item.Found}, nil
}

// nextVersion is above those before it, at the time of the clock.
func (m *memory) nextVersion() api.Version {
	m.version = max(m.version+1, api.VersionAt(clock.Millis(m.clock)))
	return m.version
}

// Run implements Store: one request after the other.
func (m *memory) Run(ctx context.Context, t *server.Turn) {
	m.mu.Lock()
	m.turns++
	onTurn, undone := m.onTurn, m.undone
	m.mu.Unlock()
	if onTurn != nil {
		onTurn(t)
	}
	for i := range t.Requests {
		if q := &t.Requests[i]; !q.Done && (undone == 0 || i < undone) {
			results, err := m.runOne(ctx, q)
			q.Done, q.Results, q.Err = true, results, err
		}
	}
}

func (m *memory) runOne(ctx context.Context, r *server.Request) ([]api.OpResult, error) {
	if slices.ContainsFunc(r.Ops, func(op api.Op) bool { return op.Kind != api.OpGet }) {
		res, err := m.Apply(ctx, api.Batch{Ops: cloneOps(r.Ops), Independent: true})
		return res.Ops, err
	}
	q := server.Query{MaxStaleness: r.MaxStaleness, Here: r.Here}
	for _, op := range r.Ops {
		q.Keys = append(q.Keys, op.Key)
	}
	items, err := m.Read(ctx, q)
	if err != nil {
		return nil, err
	}
	var results []api.OpResult
	for i, item := range items {
		results = append(results, api.OpResult{
			Applied: true, Existed: item.Found, PreviousVersion: item.Version, PreviousExpiry: item.ExpiryMillis, Number: int64(len(item.Value)),
		})
		if r.Ops[i].ReturnPrevious {
			results[i].Previous = item.Value
		}
	}
	return results, nil
}

// cloneOps copies what a memory keeps: the bytes are the connection's.
func cloneOps(ops []api.Op) []api.Op {
	ops = slices.Clone(ops)
	for i := range ops {
		ops[i].Key, ops[i].Value = bytes.Clone(ops[i].Key), bytes.Clone(ops[i].Value)
	}
	return ops
}

func (m *memory) Scan(_ context.Context, r api.Range) iter.Seq2[api.Item, error] {
	return func(yield func(api.Item, error) bool) {
		m.mu.Lock()
		keys := slices.Sorted(maps.Keys(m.items))
		fail := m.fail
		m.mu.Unlock()
		if fail != nil {
			yield(api.Item{}, fail)
			return
		}
		for _, key := range keys {
			if key < string(r.Start) || len(r.End) > 0 && key >= string(r.End) {
				continue
			}
			m.mu.Lock()
			item := m.get([]byte(key))
			m.mu.Unlock()
			if item.Found && !yield(item, nil) {
				return
			}
		}
	}
}

func (m *memory) Clear(context.Context, api.Namespace) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.items)
	return m.fail
}

func (m *memory) RandomKey(context.Context, api.Namespace) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.items {
		return []byte(key), true, m.fail
	}
	return nil, false, m.fail
}

// ScanCursor's cursor is one more than the number of keys already yielded.
func (m *memory) ScanCursor(_ context.Context, _ api.Namespace, cursor uint64, count int, prefix []byte) (server.CursorPage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key := range m.items {
		if strings.HasPrefix(key, string(prefix)) && m.get([]byte(key)).Found {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	start := int(min(max(cursor, 1)-1, uint64(len(keys))))
	end := min(start+count, len(keys))
	page := server.CursorPage{}
	for _, key := range keys[start:end] {
		page.Keys = append(page.Keys, []byte(key))
	}
	if end < len(keys) {
		page.Next = uint64(end + 1)
	}
	return page, m.fail
}

func (m *memory) Count(context.Context, api.Namespace) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.items)), m.fail
}

func newMemory() *memory {
	return &memory{clock: clock.NewManual(time.UnixMilli(1_700_000_000_000)), items: map[string]api.Item{}}
}

// startServer serves a memory on loopback until the test ends.
func startServer(t *testing.T, change func(*Options)) (*Server, *memory, string) {
	t.Helper()
	m := newMemory()
	o := Options{Store: m, Node: "node-1", Version: "test", Clock: m.clock}
	if change != nil {
		change(&o)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(o)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, m, ln.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// encode writes a command as clients do.
func encode(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}
