package evaluate

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
)

// EV4. Every operation that takes up nothing of a value, or is refused before it does: a batch has
// a hundred thousand of them, and reading a large value once takes milliseconds.
func TestALongValueIsReadOnce(t *testing.T) {
	const count = 1000
	absent := func(op api.Op) api.Op { return when(op, api.ConditionAbsent) }
	for name, op := range map[string]api.Op{
		"get":           key(api.OpGet, "k"),
		"check":         when(key(api.OpCheck, "k"), api.ConditionPresent),
		"put":           absent(put("k", "x")),
		"delete":        absent(remove("k")),
		"expire":        absent(after(key(api.OpExpire, "k"), 1000)),
		"persist":       key(api.OpExpire, "k"), // it does not expire
		"increment":     increment("k", 1),
		"float":         value(api.OpIncrementFloat, "k", "1"),
		"append":        absent(value(api.OpAppend, "k", "x")),
		"range":         absent(value(api.OpSetRange, "k", "x")),
		"far range":     {Kind: api.OpSetRange, Key: []byte("k"), Offset: api.MaxValueBytes, Value: []byte("x")},
		"empty range":   key(api.OpSetRange, "k"),
		"bit":           absent(key(api.OpSetBit, "k")),
		"far bit":       {Kind: api.OpSetBit, Key: []byte("k"), Offset: 8 * api.MaxValueBytes},
		"copy over":     absent(from(api.OpCopy, "k", "s")),
		"copy of":       when(from(api.OpCopy, "t", "k"), api.ConditionPresent),
		"rename itself": from(api.OpRename, "k", "k"),
	} {
		looked := map[string]int{}
		long := Row{Value: []byte(strings.Repeat("v", 1<<20)), Version: 1, Live: true}
		e := Evaluator{Version: api.VersionAt(startMillis), Lookup: func(key []byte) (Row, error) {
			if looked[string(key)]++; string(key) == "t" {
				return Row{}, nil
			}
			return long, nil
		}}
		b := api.Batch{Independent: true}
		for range count {
			b.Ops = append(b.Ops, op)
		}
		res, refusal, err := e.Run(&b)
		if refusal != nil || err != nil || !res.Applied || len(e.Writes()) > 0 {
			t.Fatalf("%s: %v, %v, applied %t, %d writes", name, refusal, err, res.Applied, len(e.Writes()))
		}
		if looked["k"] != 1 || looked["s"] > 1 {
			t.Errorf("%s: %d operations read a value of 1 MiB %d times", name, count, looked["k"]+looked["s"])
		}
	}
}

// What was left out of a long value that a batch came upon before is there when it is needed.
func TestALongValueIsWholeTheSecondTime(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1024)
	for name, op := range map[string]api.Op{
		"get":      previous(key(api.OpGet, "k")),
		"put":      previous(put("k", "x")),
		"delete":   previous(remove("k")),
		"expire":   previous(after(key(api.OpExpire, "k"), 1000)),
		"float":    value(api.OpIncrementFloat, "k", "1"),
		"integer":  increment("k", 1),
		"append":   value(api.OpAppend, "k", "x"),
		"range":    {Kind: api.OpSetRange, Key: []byte("k"), Offset: 7, Value: []byte("x")},
		"no range": key(api.OpSetRange, "k"),
		"bit":      {Kind: api.OpSetBit, Key: []byte("k"), Offset: 5, Delta: 1},
		"copy":     from(api.OpCopy, "other", "k"),
		"rename":   from(api.OpRename, "other", "k"),
	} {
		one, two := newRows(t), newRows(t)
		one.must(put("k", long))
		two.must(put("k", long))
		alone, _ := one.run(api.Batch{Independent: true, Ops: []api.Op{op}})
		after, refusal := two.run(api.Batch{Independent: true, Ops: []api.Op{key(api.OpGet, "k"), key(api.OpGet, "k"), op}})
		if refusal != nil || after.Ops[1].Number != int64(len(long)) || !reflect.DeepEqual(alone.Ops[0], after.Ops[2]) {
			t.Errorf("%s: %v, lengths %d and %d", name, refusal, after.Ops[0].Number, after.Ops[1].Number)
		}
		for _, k := range []string{"k", "other"} {
			if one.state(k) != two.state(k) {
				t.Errorf("%s: %s has another value", name, k)
			}
		}
	}
}

// A store that fails when the value is looked up again.
func TestALongValueThatIsGoneIsAnError(t *testing.T) {
	broken := errors.New("broken")
	for _, op := range []api.Op{
		previous(key(api.OpGet, "k")), previous(absentSource("k")), value(api.OpAppend, "k", "x"), from(api.OpCopy, "other", "k"), after(key(api.OpExpire, "k"), 9),
	} {
		looked := 0
		e := Evaluator{Version: api.VersionAt(startMillis), Lookup: func(key []byte) (Row, error) {
			if string(key) != "k" {
				return Row{}, nil
			}
			if looked++; looked > 1 {
				return Row{}, fmt.Errorf("look up again: %w", broken)
			}
			return Row{Value: make([]byte, 1<<20), Version: 1, Live: true}, nil
		}}
		_, refusal, err := e.Run(&api.Batch{Independent: true, Ops: []api.Op{key(api.OpGet, "k"), op}})
		if refusal != nil || !errors.Is(err, broken) || len(e.Writes()) > 0 {
			t.Errorf("%+v: %v, %v, %d writes", op, refusal, err, len(e.Writes()))
		}
	}
}

func absentSource(k string) api.Op { return from(api.OpCopy, k, "nothing") }
