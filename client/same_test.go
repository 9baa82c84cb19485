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
	"github.com/lightning-db/lightning/lightningtest"
)

// A twin is a store under a random history. Versions differ between stores, so they are named by
// the write that made them.
type twin struct {
	api.KV
	// coarse leaves out how long a key lives, and says only whether it expires.
	coarse   bool
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

func (w *twin) until(millis uint64) uint64 {
	if w.coarse {
		return min(millis, 1)
	}
	return millis
}

func (w *twin) describe(i api.Item) string {
	return fmt.Sprintf("%q found %t %q by %s until %d", i.Key, i.Found, i.Value, w.name(i.Version), w.until(i.ExpiryMillis))
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
			o.Previous == nil, w.name(o.PreviousVersion), w.until(o.PreviousExpiry), o.Number, o.Text)
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
	now  func() uint64
	keys []string
	// step is the unit of expiries in milliseconds. Where the two stores have one clock it is 1.
	// Else it is so long that a moment more or less decides nothing.
	step uint64
}

func (d dice) key() []byte { return []byte(d.keys[d.IntN(len(d.keys))]) }

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
		op.Expiry.Millis = d.now() + d.span() - 10*d.step
	case api.ExpiryAfter:
		op.Expiry.Millis = d.span()
	}
	if d.IntN(3) == 0 {
		op.Condition = api.Condition{Kind: api.ConditionKind(d.IntN(9)), Version: api.Version(d.IntN(100))}
	}
	return op
}

func (d dice) span() uint64 { return uint64(d.IntN(40))*d.step + d.Uint64N(d.step) }

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

// history runs one random history on a cluster and on an embedded store, and compares every
// answer: results, errors, values, expiries, and repetitions under a request id.
type history struct {
	dice
	t        *testing.T
	cluster  *twin
	embedded *twin
	advance  func() // lets time pass

	session  api.SessionID
	repeated []api.Batch
	applied  int
}

func (h *history) same(what any, one, other string) {
	h.t.Helper()
	if one != other {
		h.t.Fatalf("%+v\ncluster:  %s\nembedded: %s", what, one, other)
	}
}

func (h *history) apply(b api.Batch) {
	h.t.Helper()
	one := h.cluster.apply(h.t.Context(), b)
	h.same(b, one, h.embedded.apply(h.t.Context(), b))
	if strings.HasPrefix(one, "applied true") {
		h.applied++
	}
}

func (h *history) step(i int) {
	ctx := h.t.Context()
	switch h.IntN(8) {
	case 0:
		h.advance()
	case 1:
		keys := [][]byte{h.key(), h.key(), h.key()}
		h.same(keys, h.cluster.read(ctx, keys), h.embedded.read(ctx, keys))
	case 2:
		r := h.scanned()
		h.same(r, h.cluster.scan(ctx, r), h.embedded.scan(ctx, r))
	case 3:
		if len(h.repeated) > 0 {
			h.apply(h.repeated[h.IntN(len(h.repeated))])
		}
	default:
		b := h.batch()
		if h.IntN(4) == 0 {
			b.Request = api.RequestID{Session: h.session, Sequence: uint64(i + 1), Floor: 1}
			h.repeated = append(h.repeated, b)
		}
		h.apply(b)
	}
}

func (h *history) run(steps int) {
	h.t.Helper()
	// One write first, so that conditions can name one.
	h.apply(api.Batch{Ops: []api.Op{{Kind: api.OpPut, Key: []byte(h.keys[0])}}})
	for i := range steps {
		h.step(i)
	}
	h.t.Logf("%d steps, %d batches applied, %d request ids", steps, h.applied, len(h.repeated))
	if h.applied < steps/20 || !strings.Contains(h.cluster.scan(h.t.Context(), api.Range{}), "found true") {
		h.t.Error("a history in which nothing happens proves nothing")
	}
}

func TestAnEmbeddedStoreDoesWhatAStandInDoes(t *testing.T) {
	cluster, c := start(t, 3)
	b := openBox(t, client.EmbeddedOptions{})
	cluster.SetClock(b.time)
	rng := testkit.Rand(t)
	h := history{
		t: t, cluster: newTwin(c), embedded: newTwin(b), session: api.SessionID{CreatedMillis: 1, Random: 5},
		dice: dice{
			Rand: rng, now: func() uint64 { return clock.Millis(b.time) }, step: 1,
			keys: []string{"a", "a\x00", "a\x00\xff", "b", "\x00", "\xff\xff", "{t}x", "{t}y", "no", ""},
		},
		advance: func() { b.time.Advance(time.Duration(rng.IntN(12)) * time.Millisecond) },
	}
	h.run(3000)
}

// The real cluster has a clock of its own, so expiries differ by a moment and are compared as
// there or not there, and its keys have one hash tag, because a batch is for one shard.
func TestAnEmbeddedStoreDoesWhatAClusterDoes(t *testing.T) {
	cluster := lightningtest.Start(t, 3)
	b := openBox(t, client.EmbeddedOptions{})
	b.time.Advance(time.Since(b.time.Now()))
	h := history{
		t: t, cluster: newTwin(cluster.Client(t)), embedded: newTwin(b),
		session: api.SessionID{CreatedMillis: clock.Millis(clock.Real{}), Random: 5},
		dice: dice{
			Rand: testkit.Rand(t), now: func() uint64 { return clock.Millis(clock.Real{}) }, step: 3_600_000,
			keys: []string{"{t}", "{t}a", "{t}a\x00", "{t}a\x00\xff", "{t}b", "{t}\xff\xff", "\x00{t}", ""},
		},
		advance: func() { b.time.Advance(time.Since(b.time.Now())) },
	}
	h.cluster.coarse, h.embedded.coarse = true, true
	h.run(1000)
}
