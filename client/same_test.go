package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
)

// A twin is a store under a random history. Versions differ between stores, so they are named by
// the write that made them.
type twin struct {
	api.KV
	names    map[api.Version]string
	versions []api.Version // of applied batches, by their number
}

func newTwin(kv api.KV) *twin { return &twin{KV: kv, names: map[api.Version]string{0: "none"}} }

func (w *twin) name(v api.Version) string {
	if name, ok := w.names[v]; ok {
		return name
	}
	return fmt.Sprintf("unheard of %d", v)
}

func (w *twin) note(v api.Version) {
	if _, ok := w.names[v]; !ok && v != 0 {
		w.names[v] = fmt.Sprint("write ", len(w.versions))
		w.versions = append(w.versions, v)
	}
}

func (w *twin) describe(i api.Item) string {
	return fmt.Sprintf("%q found %t %q by %s until %d", i.Key, i.Found, i.Value, w.name(i.Version), i.ExpiryMillis)
}

// apply runs a batch whose conditions name the number of a write, and describes what it came to.
func (w *twin) apply(ctx context.Context, b api.Batch) string {
	b.Ops = append([]api.Op(nil), b.Ops...)
	for i := range b.Ops {
		if c := &b.Ops[i].Condition; c.Kind == api.ConditionVersion && c.Version > 0 {
			c.Version = w.versions[uint64(c.Version)%uint64(len(w.versions))]
		}
	}
	r, err := w.Apply(ctx, b)
	if err != nil {
		return "error " + string(api.CodeOf(err))
	}
	w.note(r.Version)
	var out strings.Builder
	fmt.Fprintf(&out, "applied %t at %d by %s", r.Applied, r.FailedOp, w.name(r.Version))
	for _, o := range r.Ops {
		if !r.Applied {
			o.PreviousVersion = 0 // perhaps the batch's own, which stores may use again
		}
		fmt.Fprintf(&out, "\n  %t %s existed %t %q nil %t by %s until %d: %d %q", o.Applied, o.Code, o.Existed, o.Previous,
			o.Previous == nil, w.name(o.PreviousVersion), o.PreviousExpiry, o.Number, o.Text)
	}
	return out.String()
}

func (w *twin) read(ctx context.Context, keys [][]byte) string {
	items, err := w.MultiGet(ctx, 0, keys)
	var out strings.Builder
	fmt.Fprint(&out, api.CodeOf(err))
	for i, item := range items {
		one, err := w.Get(ctx, 0, keys[i])
		fmt.Fprintf(&out, "\n  %s | %s %v", w.describe(item), w.describe(one), err)
	}
	return out.String()
}

func (w *twin) scan(ctx context.Context, r api.Range) string {
	var out strings.Builder
	for item, err := range w.Scan(ctx, r) {
		fmt.Fprintf(&out, "\n  %s %s", w.describe(item), api.CodeOf(err))
	}
	return out.String()
}

// dice makes random batches and ranges.
type dice struct {
	*rand.Rand
	now func() uint64
}

func (d dice) key() []byte {
	keys := []string{"a", "a\x00", "a\x00\xff", "b", "\x00", "\xff\xff", "{t}x", "{t}y", "no", ""}
	return []byte(keys[min(d.IntN(len(keys)*4), len(keys)*4-1)/4])
}

func (d dice) value() []byte {
	values := []string{"", "7", "-3", "1.5", "abc", "9223372036854775807", "\x00\xff"}
	return []byte(values[d.IntN(len(values))])
}

func (d dice) op(i int) api.Op {
	op := api.Op{
		Kind: api.OpKind(1 + d.IntN(int(api.OpRename))), Key: d.key(), ReturnPrevious: d.IntN(2) == 0,
		Joined: i > 0 && d.IntN(3) == 0, Delta: int64(d.IntN(5) - 1), Offset: uint64(d.IntN(20)),
		Value: d.value(), Source: d.key(),
		Expiry: api.Expiry{Mode: api.ExpiryMode(d.IntN(4))},
	}
	switch op.Expiry.Mode {
	case api.ExpiryAt:
		op.Expiry.Millis = d.now() + uint64(d.IntN(40)) - 10
	case api.ExpiryAfter:
		op.Expiry.Millis = uint64(d.IntN(40))
	}
	if d.IntN(3) == 0 {
		op.Condition = api.Condition{Kind: api.ConditionKind(d.IntN(9)), Version: api.Version(d.IntN(100))}
	}
	return op
}

func (d dice) batch() api.Batch {
	b := api.Batch{Independent: d.IntN(2) == 0}
	for i := range 1 + d.IntN(6) {
		b.Ops = append(b.Ops, d.op(i))
	}
	return b
}

func (d dice) scanned() api.Range {
	r := api.Range{Reverse: d.IntN(2) == 0, KeysOnly: d.IntN(3) == 0, Limit: uint64(d.IntN(6))}
	if d.IntN(2) == 0 {
		r.Start = d.key()
	}
	if d.IntN(2) == 0 {
		r.End = d.key()
	}
	return r
}

// TestAnEmbeddedStoreDoesWhatAClusterDoes runs one random history on both and compares every
// answer: results, errors, values, expiries, and repetitions under a request id.
func TestAnEmbeddedStoreDoesWhatAClusterDoes(t *testing.T) {
	rng := testkit.Rand(t)
	cluster, c := start(t, 3)
	b := openBox(t, client.EmbeddedOptions{})
	cluster.SetClock(b.time)
	a, e := newTwin(c), newTwin(b)
	d := dice{rng, func() uint64 { return clock.Millis(b.time) }}
	// One write first, so that conditions can name one.
	a.apply(t.Context(), api.Batch{Ops: []api.Op{{Kind: api.OpPut, Key: []byte("a")}}})
	e.apply(t.Context(), api.Batch{Ops: []api.Op{{Kind: api.OpPut, Key: []byte("a")}}})
	var repeated []api.Batch
	same := func(what any, one, other string) {
		t.Helper()
		if one != other {
			t.Fatalf("%+v\ncluster:  %s\nembedded: %s", what, one, other)
		}
	}
	const steps = 3000
	applied := 0
	for step := range steps {
		switch rng.IntN(8) {
		case 0:
			b.time.Advance(time.Duration(rng.IntN(12)) * time.Millisecond)
		case 1:
			keys := [][]byte{d.key(), d.key(), d.key()}
			same(keys, a.read(t.Context(), keys), e.read(t.Context(), keys))
		case 2:
			r := d.scanned()
			same(r, a.scan(t.Context(), r), e.scan(t.Context(), r))
		case 3:
			if len(repeated) > 0 {
				old := repeated[rng.IntN(len(repeated))]
				same(old, a.apply(t.Context(), old), e.apply(t.Context(), old))
			}
		default:
			batch := d.batch()
			if rng.IntN(4) == 0 {
				batch.Request = api.RequestID{Session: api.SessionID{CreatedMillis: 1, Random: 5}, Sequence: uint64(step + 1), Floor: 1}
				repeated = append(repeated, batch)
			}
			one := a.apply(t.Context(), batch)
			same(batch, one, e.apply(t.Context(), batch))
			if strings.HasPrefix(one, "applied true") {
				applied++
			}
		}
	}
	t.Logf("%d steps, %d batches applied, %d request ids", steps, applied, len(repeated))
	if applied < steps/20 || !strings.Contains(a.scan(t.Context(), api.Range{}), "found true") {
		t.Error("a history in which nothing happens proves nothing")
	}
}
