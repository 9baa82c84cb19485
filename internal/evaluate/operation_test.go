package evaluate

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
)

// Each operation on a key that is absent, plain, or expires.
func TestOperations(t *testing.T) {
	setRange := func(offset uint64, text string) api.Op {
		op := value(api.OpSetRange, "k", text)
		op.Offset = offset
		return op
	}
	setBit := func(offset uint64, bit int64) api.Op {
		return api.Op{Kind: api.OpSetBit, Key: []byte("k"), Offset: offset, Delta: bit}
	}
	for name, c := range map[string]struct {
		prior  string // what k holds for 100 ms, "absent" when it is not there
		op     api.Op
		want   string
		number int64
		text   string
		code   api.Code
	}{
		"put":                         {"old", put("k", "new"), `"new"`, 0, "", ""},
		"put that keeps":              {"old", keep(put("k", "new")), `"new" for 100`, 0, "", ""},
		"put that keeps nothing":      {"absent", keep(put("k", "new")), `"new"`, 0, "", ""},
		"put for a while":             {"old", after(put("k", "new"), 7), `"new" for 7`, 0, "", ""},
		"put for no time":             {"old", after(put("k", "new"), 0), "absent", 0, "", ""},
		"put in the past":             {"old", at(put("k", "new"), 0), "absent", 0, "", ""},
		"put for ever":                {"old", after(put("k", "new"), math.MaxUint64), `"new" until the end`, 0, "", ""},
		"delete":                      {"old", remove("k"), "absent", 0, "", ""},
		"delete of nothing":           {"absent", remove("k"), "absent", 0, "", ""},
		"get":                         {"old", key(api.OpGet, "k"), `"old" for 100`, 3, "", ""},
		"get of nothing":              {"absent", key(api.OpGet, "k"), "absent", 0, "", ""},
		"check":                       {"old", key(api.OpCheck, "k"), `"old" for 100`, 0, "", ""},
		"increment":                   {"41", increment("k", 1), `"42" for 100`, 42, "", ""},
		"increment of nothing":        {"absent", increment("k", -3), `"-3"`, -3, "", ""},
		"increment of a word":         {"4x", increment("k", 1), `"4x" for 100`, 0, "", api.CodeNotInteger},
		"increment over the end":      {"9223372036854775807", increment("k", 1), `"9223372036854775807" for 100`, 0, "", api.CodeOverflow},
		"increment below the start":   {"-2", increment("k", math.MinInt64), `"-2" for 100`, 0, "", api.CodeOverflow},
		"increment to the start":      {"-1", increment("k", math.MinInt64+1), `"-9223372036854775808" for 100`, math.MinInt64, "", ""},
		"append":                      {"old", value(api.OpAppend, "k", "er"), `"older" for 100`, 5, "", ""},
		"append to nothing":           {"absent", value(api.OpAppend, "k", "er"), `"er"`, 2, "", ""},
		"append of nothing":           {"old", value(api.OpAppend, "k", ""), `"old" for 100`, 3, "", ""},
		"append of nothing twice":     {"absent", value(api.OpAppend, "k", ""), `""`, 0, "", ""},
		"set range":                   {"abcdef", setRange(2, "XY"), `"abXYef" for 100`, 6, "", ""},
		"set range at the start":      {"abc", setRange(0, "XYZW"), `"XYZW" for 100`, 4, "", ""},
		"set range over the end":      {"abc", setRange(2, "XY"), `"abXY" for 100`, 4, "", ""},
		"set range behind the end":    {"abc", setRange(5, "X"), `"abc\x00\x00X" for 100`, 6, "", ""},
		"set range of nothing":        {"absent", setRange(2, "X"), `"\x00\x00X"`, 3, "", ""},
		"set range to nothing":        {"abc", setRange(1<<60, ""), `"abc" for 100`, 3, "", ""},
		"set range, nothing at all":   {"absent", setRange(4, ""), "absent", 0, "", ""},
		"set range far away":          {"abc", setRange(1<<60, "x"), `"abc" for 100`, 0, "", api.CodeTooLarge},
		"set range at the last":       {"abc", setRange(math.MaxUint64, "x"), `"abc" for 100`, 0, "", api.CodeTooLarge},
		"set range over the limit":    {"abc", setRange(api.MaxValueBytes, "x"), `"abc" for 100`, 0, "", api.CodeTooLarge},
		"set bit":                     {"a", setBit(6, 1), `"c" for 100`, 0, "", ""},
		"set bit that is set":         {"a", setBit(7, 1), `"a" for 100`, 1, "", ""},
		"clear bit":                   {"a", setBit(7, 0), "\"`\" for 100", 1, "", ""},
		"set bit behind the end":      {"a", setBit(23, 1), `"a\x00\x01" for 100`, 0, "", ""},
		"set bit of nothing":          {"absent", setBit(0, 1), `"\x80"`, 0, "", ""},
		"clear bit of nothing":        {"absent", setBit(9, 0), `"\x00\x00"`, 0, "", ""},
		"set bit far away":            {"a", setBit(math.MaxUint64, 1), `"a" for 100`, 0, "", api.CodeTooLarge},
		"set bit over the limit":      {"a", setBit(8*api.MaxValueBytes, 1), `"a" for 100`, 0, "", api.CodeTooLarge},
		"increment float":             {"10.50", value(api.OpIncrementFloat, "k", "0.1"), `"10.6" for 100`, 0, "10.6", ""},
		"increment float of nothing":  {"absent", value(api.OpIncrementFloat, "k", "5e2"), `"500"`, 0, "500", ""},
		"increment float of a word":   {"x", value(api.OpIncrementFloat, "k", "1"), `"x" for 100`, 0, "", api.CodeNotFloat},
		"increment float of no text":  {"", value(api.OpIncrementFloat, "k", "1"), `"" for 100`, 0, "", api.CodeNotFloat},
		"increment float by a word":   {"1", value(api.OpIncrementFloat, "k", "x"), `"1" for 100`, 0, "", api.CodeNotFloat},
		"increment float by infinity": {"1", value(api.OpIncrementFloat, "k", "inf"), `"1" for 100`, 0, "", api.CodeOverflow},
		"expire":                      {"old", after(key(api.OpExpire, "k"), 5), `"old" for 5`, 0, "", ""},
		"expire of nothing":           {"absent", after(key(api.OpExpire, "k"), 5), "absent", 0, "", ""},
		"expire never":                {"old", key(api.OpExpire, "k"), `"old"`, 0, "", ""},
		"expire in the past":          {"old", at(key(api.OpExpire, "k"), startMillis), "absent", 0, "", ""},
		"copy":                        {"old", from(api.OpCopy, "k", "other"), `"theirs" for 50`, 0, "", ""},
		"copy to nothing":             {"absent", from(api.OpCopy, "k", "other"), `"theirs" for 50`, 0, "", ""},
		"copy of nothing":             {"old", from(api.OpCopy, "k", "none"), `"old" for 100`, 0, "", api.CodeNotFound},
		"copy onto itself":            {"old", from(api.OpCopy, "k", "k"), `"old" for 100`, 0, "", ""},
		"copy of nothing onto itself": {"absent", from(api.OpCopy, "k", "k"), "absent", 0, "", api.CodeNotFound},
		"rename":                      {"old", from(api.OpRename, "k", "other"), `"theirs" for 50`, 0, "", ""},
		"rename to itself":            {"old", from(api.OpRename, "k", "k"), `"old" for 100`, 0, "", ""},
		"rename of nothing":           {"old", from(api.OpRename, "k", "none"), `"old" for 100`, 0, "", api.CodeNotFound},
		"rename of nothing to itself": {"absent", from(api.OpRename, "k", "k"), "absent", 0, "", api.CodeNotFound},
	} {
		for _, independent := range []bool{true, false} {
			r := newRows(t)
			existed := c.prior != "absent"
			if existed {
				r.must(after(put("k", c.prior), 100))
			}
			r.must(after(put("other", "theirs"), 50))
			before := r.rows["k"]
			res, refusal := r.run(api.Batch{Ops: []api.Op{previous(c.op)}, Independent: independent})
			r.want("k", c.want)
			if r.state("k") != c.want {
				t.Errorf("that was %s", name)
			}
			if c.code != "" && !independent {
				if refusal == nil || refusal.Code != c.code {
					t.Errorf("%s: %+v, %v", name, res, refusal)
				}
				continue
			}
			if refusal != nil || !res.Applied {
				t.Fatalf("%s: %+v, %v", name, res, refusal)
			}
			o := res.Ops[0]
			if o.Applied != (c.code == "") || o.Code != c.code || o.Number != c.number || string(o.Text) != c.text {
				t.Errorf("%s: %+v", name, o)
			}
			if o.Existed != existed || o.PreviousVersion != before.Version || o.PreviousExpiry != before.ExpiryMillis ||
				existed && string(o.Previous) != c.prior || (o.Previous != nil) != existed {
				t.Errorf("%s: found %+v, before %+v", name, o, before)
			}
			if source := r.state("other"); c.op.Kind == api.OpRename && c.code == "" && string(c.op.Source) == "other" != (source == "absent") {
				t.Errorf("%s: the source is %s", name, source)
			}
		}
	}
}

func TestTheConditionOfAnExpiry(t *testing.T) {
	const current = 100
	for name, c := range map[string]struct {
		kind                       api.ConditionKind
		op                         func(api.Op) api.Op
		absent, persists, expiring bool // whether it holds
	}{
		"persistent":           {api.ConditionPersistent, func(o api.Op) api.Op { return after(o, 5) }, false, true, false},
		"expiring":             {api.ConditionExpiring, func(o api.Op) api.Op { return after(o, 5) }, false, false, true},
		"later, and it is":     {api.ConditionExpiresLater, func(o api.Op) api.Op { return after(o, current+1) }, false, false, true},
		"later, at the same":   {api.ConditionExpiresLater, func(o api.Op) api.Op { return after(o, current) }, false, false, false},
		"later, and it is not": {api.ConditionExpiresLater, func(o api.Op) api.Op { return after(o, current-1) }, false, false, false},
		"later is never":       {api.ConditionExpiresLater, func(o api.Op) api.Op { return o }, false, false, true},
		"later than it keeps":  {api.ConditionExpiresLater, func(o api.Op) api.Op { o = keep(o); o.Kind = api.OpPut; return o }, false, false, false},
		"sooner, and it is":    {api.ConditionExpiresSooner, func(o api.Op) api.Op { return after(o, current-1) }, false, true, true},
		"sooner, at the same":  {api.ConditionExpiresSooner, func(o api.Op) api.Op { return after(o, current) }, false, true, false},
		"sooner, in 1970":      {api.ConditionExpiresSooner, func(o api.Op) api.Op { return at(o, 0) }, false, true, true},
		"sooner is not never":  {api.ConditionExpiresSooner, func(o api.Op) api.Op { return o }, false, false, false},
		"sooner than it keeps": {api.ConditionExpiresSooner, func(o api.Op) api.Op { o = keep(o); o.Kind = api.OpPut; return o }, false, false, false},
		"expiring and sooner":  {api.ConditionExpiringSooner, func(o api.Op) api.Op { return after(o, current-1) }, false, false, true},
		"expiring, not sooner": {api.ConditionExpiringSooner, func(o api.Op) api.Op { return after(o, current) }, false, false, false},
	} {
		for prior, want := range map[string]bool{"absent": c.absent, "persists": c.persists, "expiring": c.expiring} {
			r := newRows(t)
			switch prior {
			case "persists":
				r.must(put("k", "v"))
			case "expiring":
				r.must(after(put("k", "v"), current))
			}
			before := r.state("k")
			res, refusal := r.run(api.Batch{Ops: []api.Op{when(c.op(key(api.OpExpire, "k")), c.kind)}})
			if refusal != nil || res.Applied != want {
				t.Errorf("%s on a key that is %s: %+v, %v, want %t", name, prior, res, refusal, want)
			}
			if !want {
				r.want("k", before)
			}
		}
	}
	r := newRows(t)
	r.must(after(put("k", "v"), current))
	r.must(when(at(key(api.OpExpire, "k"), startMillis-1), api.ConditionExpiresSooner))
	r.want("k", "absent")
}

// RENAMENX of a key that is not there is an error, whether or not the new name is taken.
func TestAnAbsentSourceComesBeforeTheCondition(t *testing.T) {
	r := newRows(t)
	r.must(put("taken", "v"))
	res := r.each(when(from(api.OpRename, "taken", "none"), api.ConditionAbsent), when(from(api.OpRename, "taken", "taken"), api.ConditionAbsent))
	if res[0].Code != api.CodeNotFound || res[0].Applied || res[1].Code != "" || res[1].Applied {
		t.Errorf("%+v", res)
	}
	r.want("taken", `"v"`)
}

func TestMalformedBatchesAreRefused(t *testing.T) {
	long := strings.Repeat("k", api.MaxKeyBytes+1)
	half := strings.Repeat("v", api.MaxValueBytes/2+1<<17)
	for name, c := range map[string]struct {
		ops  []api.Op
		want error
	}{
		"nothing":         {nil, api.ErrInvalid},
		"no key":          {[]api.Op{put("", "v")}, api.ErrInvalid},
		"long key":        {[]api.Op{put(long, "v")}, api.ErrTooLarge},
		"no source":       {[]api.Op{from(api.OpCopy, "k", "")}, api.ErrInvalid},
		"long source":     {[]api.Op{from(api.OpRename, "k", long)}, api.ErrTooLarge},
		"large value":     {[]api.Op{put("k", strings.Repeat("v", api.MaxValueBytes+1))}, api.ErrTooLarge},
		"large together":  {[]api.Op{put("k", half), put("l", half)}, api.ErrTooLarge},
		"many":            {make([]api.Op, api.MaxBatchOps+1), api.ErrTooLarge},
		"keeps only":      {[]api.Op{keep(key(api.OpExpire, "k"))}, api.ErrInvalid},
		"unknown kind":    {[]api.Op{key(api.OpRename+1, "k")}, api.ErrInvalid},
		"no kind":         {[]api.Op{key(0, "k")}, api.ErrInvalid},
		"unknown guard":   {[]api.Op{when(put("k", "v"), api.ConditionExpiringSooner+1)}, api.ErrInvalid},
		"unknown expiry":  {[]api.Op{{Kind: api.OpPut, Key: []byte("k"), Expiry: api.Expiry{Mode: api.ExpiryAfter + 1}}}, api.ErrInvalid},
		"a bit of 2":      {[]api.Op{{Kind: api.OpSetBit, Key: []byte("k"), Delta: 2}}, api.ErrInvalid},
		"a bit of -1":     {[]api.Op{{Kind: api.OpSetBit, Key: []byte("k"), Delta: -1}}, api.ErrInvalid},
		"good, of course": {[]api.Op{put("k", "v")}, nil},
	} {
		bytes, refusal := Check(&api.Batch{Ops: c.ops})
		if c.want == nil && (refusal != nil || bytes != 2) || c.want != nil && !errors.Is(refusal, c.want) {
			t.Errorf("%s: %d bytes, %v", name, bytes, refusal)
		}
	}
}

// A blind put leaves what another would, reads nothing, and tells nothing of what was there.
func TestABlindPutDoesNotReadItsKey(t *testing.T) {
	blind := func(op api.Op) api.Op {
		op.Blind = true
		return op
	}
	read := 0
	run := func(op api.Op) (api.OpResult, []Write) {
		e := Evaluator{Version: api.Version(startMillis << 16), Lookup: func([]byte) (Row, error) {
			read++
			return Row{Value: []byte("old"), Version: 7, Live: true}, nil
		}}
		res, refusal, err := e.Run(&api.Batch{Ops: []api.Op{op}})
		if refusal != nil || err != nil {
			t.Fatal(refusal, err)
		}
		return res.Ops[0], e.Writes()
	}
	for name, op := range map[string]api.Op{"plain": put("k", "new"), "for a while": after(put("k", "new"), 7), "for no time": after(put("k", "new"), 0)} {
		_, want := run(op)
		read = 0
		o, got := run(blind(op))
		if read != 0 || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(o, api.OpResult{Applied: true}) {
			t.Errorf("%s: read %d times, left %+v, want %+v; result %+v", name, read, got, want, o)
		}
	}
	for name, op := range map[string]api.Op{"with a condition": when(put("k", "new"), api.ConditionPresent), "that keeps": keep(put("k", "new"))} {
		read = 0
		if o, _ := run(blind(op)); read == 0 || !o.Existed {
			t.Errorf("a put %s did not read: %+v", name, o)
		}
	}
}
