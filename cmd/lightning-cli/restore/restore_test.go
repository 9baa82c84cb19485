package restore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/router"
)

// store is a cluster in memory whose batches may fail.
type store struct {
	mu      sync.Mutex
	items   map[string]api.Item
	batches int
	fail    func(n int, b *api.Batch) error
}

func (s *store) Apply(_ context.Context, b api.Batch) (api.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches++
	if s.fail != nil {
		if err := s.fail(s.batches, &b); err != nil {
			return api.Result{}, err
		}
	}
	result := api.Result{Ops: make([]api.OpResult, len(b.Ops))}
	for i, op := range b.Ops {
		if _, there := s.items[string(op.Key)]; there && op.Condition.Kind == api.ConditionAbsent {
			continue
		}
		s.items[string(op.Key)] = api.Item{Key: op.Key, Value: op.Value, Found: true, ExpiryMillis: op.Expiry.Millis}
		result.Ops[i].Applied = true
	}
	return result, nil
}

func (s *store) Scan(_ context.Context, r api.Range) iter.Seq2[api.Item, error] {
	return func(yield func(api.Item, error) bool) {
		for i, key := range slices.Sorted(maps.Keys(s.items)) {
			if r.Limit != 0 && uint64(i) == r.Limit || !yield(s.items[key], nil) {
				return
			}
		}
	}
}

const now = 1000

// made is a backup of some rows: short ones, long ones and some that expire.
func made(t *testing.T, rows int) *backup.Backup {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	source := func(_ context.Context, _ api.Slot, to backup.Sink) (uint64, uint64, error) {
		if err := to.Begin(backup.Cut{Shard: 1, Arc: router.FullArc}); err != nil {
			return 0, 0, err
		}
		var c record.Counter
		add := func(rec record.Record) error {
			return errors.Join(c.Take(&rec), to.Block(rec.Append(nil)))
		}
		for i := range rows {
			key := fmt.Appendf(nil, "key-%d", i)
			var err error
			switch {
			case i%97 == 5:
				err = errors.Join(add(record.Record{Kind: record.Long, Key: key, ValueBytes: record.MaxPieceBytes + 3}),
					add(record.Record{Kind: record.Piece, Value: make([]byte, record.MaxPieceBytes)}), add(record.Record{Kind: record.Piece, Value: []byte("abc")}))
			case i%10 == 1: // of which one in four has expired
				err = add(record.Record{Kind: record.Row, Key: key, ExpiryMillis: []uint64{now, now + 1, 2 * now, 3 * now}[i/10%4]})
			default:
				err = add(record.Record{Kind: record.Row, Key: key, Value: make([]byte, r.IntN(5000))})
			}
			if err != nil {
				return 0, 0, err
			}
		}
		return c.Rows, c.Bytes, nil
	}
	fsys := vfs.NewMem()
	if _, err := backup.Write(t.Context(), fsys, "b", source, backup.Options{}); err != nil {
		t.Fatal(err)
	}
	b, err := backup.Verify(t.Context(), fsys, "b", nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func options() Options {
	return Options{NowMillis: now, Group: func(key []byte) uint64 { return uint64(router.Slot(0, key)) % 3 }}
}

func TestARestoreBringsEveryRowThatHasNotExpired(t *testing.T) {
	to := &store{items: map[string]api.Item{}}
	done, err := Restore(t.Context(), made(t, 400), to, options())
	if err != nil || done != (Restored{Rows: 400, Written: 390, Expired: 10, Compared: 390}) {
		t.Fatalf("%v, %+v", err, done)
	}
	if item := to.items["key-5"]; len(item.Value) != record.MaxPieceBytes+3 || string(item.Value[record.MaxPieceBytes:]) != "abc" {
		t.Errorf("the long value has %d bytes", len(item.Value))
	}
	if item := to.items["key-11"]; item.ExpiryMillis != now+1 {
		t.Errorf("got %+v", item)
	}
}

func TestARestoreThatBrokeOffGoesOn(t *testing.T) {
	b := made(t, 2000)
	to := &store{items: map[string]api.Item{}, fail: func(n int, _ *api.Batch) error {
		if n == 4 {
			return api.Errorf(api.CodeUnknownOutcome, "connection lost")
		}
		return nil
	}}
	done, err := Restore(t.Context(), b, to, options())
	if !errors.Is(err, api.ErrUnknownOutcome) || done.Written == 0 {
		t.Fatalf("%v, %+v", err, done)
	}
	if _, err := Restore(t.Context(), b, to, options()); !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), "--resume") {
		t.Fatalf("got %v", err)
	}
	o := options()
	o.Resume = true
	again, err := Restore(t.Context(), b, to, o)
	if err != nil || again.Existing < done.Written || again.Written+again.Existing+again.Expired != 2000 {
		t.Errorf("%v, %+v after %+v", err, again, done)
	}
}

func TestForeignKeysAreFoundByTheComparison(t *testing.T) {
	b := made(t, 100)
	for name, item := range map[string]api.Item{
		"another key": {Key: []byte("foreign")}, "another value": {Key: []byte("key-3"), Value: []byte("other")},
	} {
		to := &store{items: map[string]api.Item{string(item.Key): item}}
		o := options()
		o.Resume = true
		if _, err := Restore(t.Context(), b, to, o); err == nil || !strings.Contains(err.Error(), "not what the backup is") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABatchOfSeveralShardsIsAppliedRowByRow(t *testing.T) {
	to := &store{items: map[string]api.Item{}, fail: func(_ int, b *api.Batch) error {
		if len(b.Ops) > 1 {
			return api.Errorf(api.CodeCrossShard, "split")
		}
		return nil
	}}
	if done, err := Restore(t.Context(), made(t, 300), to, options()); err != nil || done.Written+done.Expired != 300 {
		t.Errorf("%v, %+v", err, done)
	}
}
