package evaluate

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

func TestEachStepOfAnIndependentBatchIsForItself(t *testing.T) {
	r := newRows(t)
	r.must(put("word", "x"))
	res := r.each(
		put("a", "1"),
		when(put("a", "2"), api.ConditionAbsent), // does not hold
		increment("word", 1),                     // fails
		increment("a", 4),
		key(api.OpGet, "a"),
	)
	for i, want := range []struct {
		applied bool
		code    api.Code
		number  int64
	}{{true, "", 0}, {false, "", 0}, {false, api.CodeNotInteger, 0}, {true, "", 5}, {true, "", 1}} {
		if o := res[i]; o.Applied != want.applied || o.Code != want.code || o.Number != want.number {
			t.Errorf("operation %d: %+v, want %+v", i, o, want)
		}
	}
	if !res[1].Existed || !res[2].Existed {
		t.Errorf("what a failed operation found is missing: %+v", res[1:3])
	}
	r.want("a", `"5"`)
	r.want("word", `"x"`)
}

// EV3. What was written before a step, and within it, in all combinations that the undo knows.
func TestAFailedStepLeavesNothingBehind(t *testing.T) {
	for _, many := range []int{0, 3, 40} {
		r := newRows(t)
		r.must(put("stored", "s"), put("word", "x"))
		var ops []api.Op
		for i := range many {
			ops = append(ops, put(fmt.Sprint("filler", i), "f"))
		}
		first := len(ops)
		ops = append(ops,
			put("earlier", "1"), remove("gone"),
			put("earlier", "2"), joined(increment("earlier", 5)), joined(put("fresh", "3")), joined(put("stored", "4")),
			joined(from(api.OpRename, "moved", "stored")), joined(increment("word", 1)), joined(put("never", "5")),
			put("later", "6"), joined(increment("earlier", 1)), key(api.OpGet, "fresh"), remove("moved"),
		)
		for i := range many {
			ops = append(ops, put(fmt.Sprint("filler", i), "g"))
		}
		res := r.each(ops...)
		for i, o := range res {
			failed := i >= first+2 && i <= first+8
			if o.Applied == failed || (o.Code != "") != (i == first+7) {
				t.Errorf("operation %d: %+v", i-first, o)
			}
		}
		if o := res[first+7]; o.Code != api.CodeNotInteger {
			t.Errorf("%+v", o)
		}
		if res[first+11].Existed || res[first+12].Existed {
			t.Errorf("a later step sees what was undone: %+v", res[first+11:])
		}
		r.want("earlier", `"2"`)
		r.want("fresh", "absent")
		r.want("stored", `"s"`)
		r.want("moved", "absent")
		r.want("never", "absent")
		r.want("later", `"6"`)
		for i := range many {
			r.want(fmt.Sprint("filler", i), `"g"`)
		}
	}
}

func TestAFailedCheckEndsEvenAnIndependentBatch(t *testing.T) {
	for _, independent := range []bool{true, false} {
		r := newRows(t)
		res, refusal := r.run(api.Batch{Independent: independent, Ops: []api.Op{
			put("a", "1"), when(key(api.OpCheck, "a"), api.ConditionPresent), joined(when(key(api.OpCheck, "b"), api.ConditionPresent)), put("c", "1"),
		}})
		if refusal != nil || res.Applied || res.FailedOp != 2 || res.Version != 0 || len(res.Ops) != 3 || res.Ops[0].Applied || res.Ops[1].Applied {
			t.Errorf("%+v, %v", res, refusal)
		}
		if len(r.rows) != 0 {
			t.Errorf("%v is there", r.rows)
		}
	}
}

func TestABatchThatIsNotIndependentIsOneStep(t *testing.T) {
	r := newRows(t)
	r.must(put("word", "x"))
	res, refusal := r.run(api.Batch{Ops: []api.Op{put("a", "1"), increment("word", 1), put("b", "1")}})
	if !errors.Is(refusal, api.ErrNotInteger) || !reflect.DeepEqual(res, api.Result{}) {
		t.Errorf("%+v, %v", res, refusal)
	}
	res, refusal = r.run(api.Batch{Ops: []api.Op{put("a", "1"), when(put("word", "y"), api.ConditionAbsent), put("b", "1")}})
	if refusal != nil || res.Applied || res.FailedOp != 1 || len(res.Ops) != 2 || res.Ops[0].Applied {
		t.Errorf("%+v, %v", res, refusal)
	}
	if len(r.rows) != 1 {
		t.Errorf("%v is there", r.rows)
	}
}

func TestEveryStepMayFailAndTheBatchIsApplied(t *testing.T) {
	r := newRows(t)
	res, refusal := r.run(api.Batch{Independent: true, Ops: []api.Op{from(api.OpCopy, "a", "b"), when(put("c", ""), api.ConditionPresent)}})
	if refusal != nil || !res.Applied || res.Version != r.last || res.Ops[0].Code != api.CodeNotFound || res.Ops[1].Applied {
		t.Errorf("%+v, %v", res, refusal)
	}
	if len(r.rows) != 0 {
		t.Errorf("%v is there", r.rows)
	}
}

// EV2. Each operation that takes up a stored value, or makes a large one of a small batch, again
// and again within one batch.
func TestWhatABatchTakesUpIsBounded(t *testing.T) {
	const size = 1 << 20
	for name, op := range map[string]func(i int) api.Op{
		"previous": func(int) api.Op { return previous(key(api.OpGet, "k")) },
		"expire":   func(i int) api.Op { return after(key(api.OpExpire, "k"), uint64(i+1)) },
		"append":   func(int) api.Op { return value(api.OpAppend, "k", "x") },
		"range":    func(int) api.Op { return value(api.OpSetRange, "k", "x") },
		"bit":      func(int) api.Op { return key(api.OpSetBit, "k") },
		"far bits": func(i int) api.Op {
			return api.Op{Kind: api.OpSetBit, Key: fmt.Append(nil, "bits", i), Offset: 8*size - 1}
		},
		"far ranges": func(i int) api.Op {
			return api.Op{Kind: api.OpSetRange, Key: fmt.Append(nil, "range", i), Offset: size - 1, Value: []byte("x")}
		},
		"copies": func(i int) api.Op { return from(api.OpCopy, fmt.Sprint("copy", i), "k") },
	} {
		for _, independent := range []bool{true, false} {
			r := newRows(t)
			r.must(put("k", strings.Repeat("v", size)))
			var ops []api.Op
			for i := range api.MaxInlineBatchBytes / size {
				ops = append(ops, op(i))
			}
			if _, refusal := r.run(api.Batch{Ops: ops, Independent: independent}); refusal != nil {
				t.Fatalf("%s: %d of them: %v", name, len(ops), refusal)
			}
			count := len(r.rows)
			ops = append(ops, op(len(ops)), op(len(ops)+1))
			res, refusal := r.run(api.Batch{Ops: ops, Independent: independent})
			if refusal != ErrCarriesTooMuch || len(r.rows) != count {
				t.Errorf("%s: %d of them: applied %t, %v", name, len(ops), res.Applied, refusal)
			}
		}
	}
	number := newRows(t)
	number.must(put("k", "1e4932"))
	refused := false
	for n := 100; n < 2000 && !refused; n += 300 {
		ops := make([]api.Op, n)
		for i := range ops {
			ops[i] = value(api.OpIncrementFloat, "k", "1")
		}
		_, refusal := number.run(api.Batch{Ops: ops})
		refused = refusal == ErrCarriesTooMuch
	}
	if !refused {
		t.Error("numbers of 5,000 digits are written without end")
	}
}

func TestBatchesAppliedTogetherAreBoundedTogether(t *testing.T) {
	big := Row{Value: make([]byte, 1000), Live: true}
	for before, want := range map[int]*api.Error{MaxCarriedBytes - 1000: nil, MaxCarriedBytes - 999: ErrOverloaded} {
		e := Evaluator{Version: api.VersionAt(startMillis), Lookup: func([]byte) (Row, error) { return big, nil }, CarriedBefore: before}
		_, refusal, err := e.Run(&api.Batch{Independent: true, Ops: []api.Op{previous(key(api.OpGet, "k"))}})
		if refusal != want || err != nil || e.Carried() != 1000 {
			t.Errorf("after %d bytes: %v, %v, %d carried", before, refusal, err, e.Carried())
		}
	}
}

func TestAnErrorOfTheStoreEndsTheBatch(t *testing.T) {
	broken := errors.New("broken")
	for _, op := range []api.Op{key(api.OpGet, "bad"), from(api.OpCopy, "good", "bad")} {
		e := Evaluator{Version: 1, Lookup: func(key []byte) (Row, error) {
			if string(key) == "bad" {
				return Row{}, broken
			}
			return Row{}, nil
		}}
		_, refusal, err := e.Run(&api.Batch{Independent: true, Ops: []api.Op{put("a", "1"), op}})
		if refusal != nil || !errors.Is(err, broken) || len(e.Writes()) != 0 {
			t.Errorf("%+v: %v, %v, %v", op, refusal, err, e.Writes())
		}
	}
}

// EV3, the other way: an independent batch does what its steps would do one after another, each as
// a batch of its own at the same version.
func TestAnIndependentBatchIsItsStepsOneAfterAnother(t *testing.T) {
	rng := testkit.Rand(t)
	together, apart := newRows(t), newRows(t)
	for range 3000 {
		ops := make([]api.Op, 1+rng.IntN(12*(1+rng.IntN(4))))
		for i := range ops {
			ops[i] = randomOp(rng, 1+len(ops)/2)
			ops[i].Joined = i > 0 && rng.IntN(2) == 0
		}
		res, refusal := together.run(api.Batch{Ops: ops, Independent: true})
		if refusal != nil || !res.Applied {
			t.Fatalf("%+v: %+v, %v", ops, res, refusal)
		}
		before := apart.last
		for start := 0; start < len(ops); {
			end := start + 1
			for end < len(ops) && ops[end].Joined {
				end++
			}
			apart.last = before
			alone, refusal := apart.run(api.Batch{Ops: ops[start:end]})
			applied := refusal == nil && alone.Applied
			for i := start; i < end; i++ {
				if res.Ops[i].Applied != applied {
					t.Fatalf("%+v: %+v, operation %d alone: %+v, %v", ops, res, i, alone, refusal)
				}
				if applied && !reflect.DeepEqual(res.Ops[i], alone.Ops[i-start]) {
					t.Fatalf("%+v: %+v, operation %d alone: %+v", ops, res, i, alone)
				}
			}
			start = end
		}
		if !reflect.DeepEqual(together.rows, apart.rows) {
			t.Fatalf("%+v: together %+v, apart %+v", ops, together.rows, apart.rows)
		}
		together.now += rng.Uint64N(3)
		apart.now, apart.last = together.now, together.last
	}
}
