package evaluate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/lightning-db/lightning/api"
)

// startMillis is the time of tests.
const startMillis = uint64(1_790_000_000_000)

// rows is a store of the simplest kind.
type rows struct {
	t    testing.TB
	now  uint64
	last api.Version
	rows map[string]Row
}

func newRows(t testing.TB) *rows {
	return &rows{t: t, now: startMillis, rows: map[string]Row{}}
}

// run evaluates a batch and applies what it writes.
func (r *rows) run(b api.Batch) (api.Result, *api.Error) {
	r.t.Helper()
	if _, refusal := Check(&b); refusal != nil {
		return api.Result{}, refusal
	}
	r.last = max(r.last+1, api.VersionAt(r.now))
	e := Evaluator{Version: r.last, Lookup: func(key []byte) (Row, error) { return r.rows[string(key)], nil }}
	res, refusal, err := e.Run(&b)
	if err != nil {
		r.t.Fatal(err)
	}
	if (refusal != nil || !res.Applied) && len(e.Writes()) > 0 {
		r.t.Fatalf("%+v came to %+v, %v, and writes %+v", b, res, refusal, e.Writes())
	}
	for _, w := range e.Writes() {
		if w.Row.Live {
			r.rows[string(w.Key)] = w.Row
		} else {
			delete(r.rows, string(w.Key))
		}
	}
	return res, refusal
}

// must runs operations of one step that has to go through.
func (r *rows) must(ops ...api.Op) api.Result {
	r.t.Helper()
	res, refusal := r.run(api.Batch{Ops: ops})
	if refusal != nil || !res.Applied {
		r.t.Fatalf("%+v: %+v, %v", ops, res, refusal)
	}
	return res
}

// each runs an independent batch that has to be applied.
func (r *rows) each(ops ...api.Op) []api.OpResult {
	r.t.Helper()
	res, refusal := r.run(api.Batch{Ops: ops, Independent: true})
	if refusal != nil || !res.Applied || len(res.Ops) != len(ops) {
		r.t.Fatalf("%+v: %+v, %v", ops, res, refusal)
	}
	return res.Ops
}

// state is a key as text: absent, or its value and when it expires, counted from now.
func (r *rows) state(key string) string {
	row, ok := r.rows[key]
	switch {
	case !ok || Expired(row.ExpiryMillis, r.now):
		return "absent"
	case row.ExpiryMillis == 0:
		return fmt.Sprintf("%q", row.Value)
	case row.ExpiryMillis == math.MaxUint64:
		return fmt.Sprintf("%q until the end", row.Value)
	}
	return fmt.Sprintf("%q for %d", row.Value, row.ExpiryMillis-r.now)
}

func (r *rows) want(key, state string) {
	r.t.Helper()
	if got := r.state(key); got != state {
		r.t.Errorf("%s is %s, want %s", key, got, state)
	}
}

func key(kind api.OpKind, key string) api.Op { return api.Op{Kind: kind, Key: []byte(key)} }

func value(kind api.OpKind, key, value string) api.Op {
	return api.Op{Kind: kind, Key: []byte(key), Value: []byte(value)}
}

func put(key, text string) api.Op { return value(api.OpPut, key, text) }

func remove(k string) api.Op { return key(api.OpDelete, k) }

func increment(key string, delta int64) api.Op {
	return api.Op{Kind: api.OpIncrement, Key: []byte(key), Delta: delta}
}

func from(kind api.OpKind, key, source string) api.Op {
	return api.Op{Kind: kind, Key: []byte(key), Source: []byte(source)}
}

func after(op api.Op, millis uint64) api.Op {
	op.Expiry = api.Expiry{Mode: api.ExpiryAfter, Millis: millis}
	return op
}

func at(op api.Op, millis uint64) api.Op {
	op.Expiry = api.Expiry{Mode: api.ExpiryAt, Millis: millis}
	return op
}

func keep(op api.Op) api.Op {
	op.Expiry.Mode = api.ExpiryKeep
	return op
}

func when(op api.Op, kind api.ConditionKind) api.Op {
	op.Condition.Kind = kind
	return op
}

func joined(op api.Op) api.Op {
	op.Joined = true
	return op
}

func previous(op api.Op) api.Op {
	op.ReturnPrevious = true
	return op
}

// randomOp makes any operation but OpCheck, on few keys so that they meet.
func randomOp(rng *rand.Rand, keys int) api.Op {
	name := func() []byte { return fmt.Append(nil, "k", rng.IntN(keys)) }
	kinds := []api.OpKind{
		api.OpPut, api.OpPut, api.OpDelete, api.OpIncrement, api.OpExpire, api.OpGet, api.OpAppend, api.OpSetRange, api.OpSetBit,
		api.OpIncrementFloat, api.OpCopy, api.OpRename,
	}
	op := api.Op{
		Kind: kinds[rng.IntN(len(kinds))], Key: name(), Source: name(), Value: strconv.AppendInt(nil, rng.Int64N(20), 10),
		Delta: rng.Int64N(2), Offset: rng.Uint64N(5), ReturnPrevious: rng.IntN(2) == 0,
		Blind: rng.IntN(2) == 0, Expiry: api.Expiry{Mode: api.ExpiryMode(rng.IntN(4))},
	}
	if rng.IntN(3) == 0 {
		op.Condition.Kind = api.ConditionKind(rng.IntN(int(api.ConditionExpiringSooner) + 1))
	}
	switch op.Expiry.Mode {
	case api.ExpiryAt:
		op.Expiry.Millis = startMillis + rng.Uint64N(5000)
	case api.ExpiryAfter:
		op.Expiry.Millis = rng.Uint64N(20)
	case api.ExpiryKeep:
		if op.Kind == api.OpExpire {
			op.Expiry.Mode = api.ExpiryNone
		}
	}
	return op
}
