package shard

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/raft"
)

func TestPutIncrementDeleteAndExpireDoWhatTheySay(t *testing.T) {
	b := configuredBench(t)
	first := b.must(put("k", "v"))
	b.want("k", "v")
	second := b.must(previous(put("k", "w")))
	if o := second.Ops[0]; !o.Existed || string(o.Previous) != "v" || o.PreviousVersion != first.Version || second.Version <= first.Version {
		t.Errorf("second put: %+v after %+v", second, first)
	}
	if o := b.must(put("k", "x")).Ops[0]; o.Previous != nil || o.PreviousVersion != second.Version {
		t.Errorf("a put that did not ask for the previous value got %+v", o)
	}
	for _, c := range []struct {
		delta, want int64
		existed     bool
	}{{5, 5, false}, {-7, -2, true}, {0, -2, true}} {
		if o := b.must(increment("n", c.delta)).Ops[0]; o.Number != c.want || o.Existed != c.existed {
			t.Errorf("increment by %d: %+v", c.delta, o)
		}
	}
	b.want("n", "-2")
	if o := b.must(previous(remove("k"))).Ops[0]; !o.Existed || string(o.Previous) != "x" {
		t.Errorf("delete: %+v", o)
	}
	b.wantAbsent("k")
	if o := b.must(previous(remove("k"))).Ops[0]; o.Existed || o.Previous != nil || o.PreviousVersion != 0 {
		t.Errorf("second delete: %+v", o)
	}
	if o := b.must(previous(put("empty", ""))).Ops[0]; o.Existed {
		t.Errorf("put of an empty value: %+v", o)
	}
	if o := b.must(previous(remove("empty"))).Ops[0]; !o.Existed || o.Previous == nil || len(o.Previous) != 0 {
		t.Errorf("delete of an empty value: %+v", o)
	}
}

func TestOnlyDecimalIntegersAreIncremented(t *testing.T) {
	b := configuredBench(t)
	for _, value := range []string{"", "x", "1.0", " 1", "1 ", "+1", "01", "-0", "0x1", "9223372036854775808", strings.Repeat("1", 100)} {
		b.must(put("n", value))
		a := b.do(batch(put("other", value), increment("n", 1)))
		if !errors.Is(a.Err, api.ErrNotInteger) {
			t.Errorf("%q: %+v", value, a)
		}
		b.want("n", value)
		b.wantAbsent("other") // nothing of the batch is applied
	}
	for _, c := range []struct {
		value string
		delta int64
		fits  bool
	}{
		{fmt.Sprint(math.MaxInt64), 1, false}, {fmt.Sprint(math.MaxInt64 - 1), 1, true}, {fmt.Sprint(math.MaxInt64), 0, true},
		{fmt.Sprint(math.MinInt64), -1, false}, {fmt.Sprint(math.MinInt64), math.MaxInt64, true}, {"-1", math.MinInt64, false},
		{"0", math.MinInt64, true}, {fmt.Sprint(math.MinInt64), 0, true}, {"1", math.MaxInt64, false},
	} {
		b.must(put("n", c.value))
		a := b.do(batch(increment("n", c.delta)))
		if fits := a.Err == nil; fits != c.fits {
			t.Errorf("%s + %d: %+v", c.value, c.delta, a)
		} else if !fits && !errors.Is(a.Err, api.ErrOverflow) {
			t.Errorf("%s + %d: %+v, want an overflow", c.value, c.delta, a)
		}
	}
}

func TestConditionsHoldOrNothingIsApplied(t *testing.T) {
	for _, c := range []struct {
		name    string
		kind    api.ConditionKind
		version func(current api.Version) api.Version
		absent  bool // whether it holds for an absent key
		present bool
	}{
		{"none", api.ConditionNone, nil, true, true},
		{"absent", api.ConditionAbsent, nil, true, false},
		{"present", api.ConditionPresent, nil, false, true},
		{"version", api.ConditionVersion, func(v api.Version) api.Version { return v }, true, true},
		{"another version", api.ConditionVersion, func(v api.Version) api.Version { return v + 1 }, false, false},
		{"version 0", api.ConditionVersion, func(api.Version) api.Version { return 0 }, true, false},
	} {
		for _, kind := range []api.OpKind{api.OpPut, api.OpDelete, api.OpIncrement, api.OpExpire} {
			for _, prior := range []string{"absent", "deleted", "expired", "present"} {
				name := fmt.Sprintf("%s/kind %d/%s", c.name, kind, prior)
				b := configuredBench(t)
				var current api.Version
				switch prior {
				case "deleted":
					b.must(put("k", "1"))
					b.must(remove("k"))
				case "expired":
					b.must(putUntil("k", "1", b.now+5))
					b.now += 5
				case "present":
					current = b.must(put("k", "1")).Version
				}
				op := api.Op{Kind: kind, Key: []byte("k"), Value: []byte("9"), Delta: 1, ReturnPrevious: true}
				op.Condition.Kind = c.kind
				if c.version != nil {
					op.Condition.Version = c.version(current)
				}
				want := c.absent
				if prior == "present" {
					want = c.present
				}
				a := b.do(batch(put("before", "x"), op, put("after", "x")))
				if a.Err != nil || a.Result.Applied != want {
					t.Errorf("%s: %+v, want applied %t", name, a, want)
					continue
				}
				_, before := b.get("before")
				_, after := b.get("after")
				if before != want || after != want {
					t.Errorf("%s: before %t, after %t, want %t", name, before, after, want)
				}
				if o := a.Result.Ops[1]; o.Existed != (prior == "present") || o.PreviousVersion != current {
					t.Errorf("%s: found %+v", name, o)
				}
				if !want && (a.Result.FailedOp != 1 || a.Result.Version != 0 || len(a.Result.Ops) != 2) {
					t.Errorf("%s: %+v", name, a.Result)
				}
			}
		}
	}
}

func TestOperationsOfABatchSeeTheOnesBefore(t *testing.T) {
	b := configuredBench(t)
	res := b.must(
		put("n", "41"), increment("n", 1), when(previous(put("n", "x")), api.ConditionPresent, 0),
		remove("n"), when(put("n", "y"), api.ConditionAbsent, 0), increment("fresh", 3),
	)
	b.want("n", "y")
	b.want("fresh", "3")
	if res.Ops[1].Number != 42 || string(res.Ops[2].Previous) != "42" || res.Ops[4].Existed {
		t.Errorf("%+v", res)
	}
	if r, _ := b.get("n"); r.Version != res.Version {
		t.Errorf("version %v, want %v", r.Version, res.Version)
	}
	// Enough keys for the evaluator's index, each written twice.
	var ops []api.Op
	for round := range 2 {
		for i := range 50 {
			ops = append(ops, increment(fmt.Sprint("i", i), int64(round+1)))
		}
	}
	b.must(ops...)
	for i := range 50 {
		b.want(fmt.Sprint("i", i), "3")
	}
}

func TestExpiryModes(t *testing.T) {
	expire := func(m api.ExpiryMode, ms uint64) api.Op {
		return api.Op{Kind: api.OpExpire, Key: []byte("k"), Expiry: api.Expiry{Mode: m, Millis: ms}}
	}
	withExpiry := func(op api.Op, m api.ExpiryMode, ms uint64) api.Op {
		op.Expiry = api.Expiry{Mode: m, Millis: ms}
		return op
	}
	now := startMillis + 1000
	for name, c := range map[string]struct {
		prior uint64 // expiry of the key before, 0 none
		op    api.Op
		want  uint64 // expiry afterwards
		gone  bool
	}{
		"put without":              {now + 50, put("k", "2"), 0, false},
		"put that keeps":           {now + 50, withExpiry(put("k", "2"), api.ExpiryKeep, 0), now + 50, false},
		"put that keeps none":      {0, withExpiry(put("k", "2"), api.ExpiryKeep, 0), 0, false},
		"put at":                   {0, withExpiry(put("k", "2"), api.ExpiryAt, now+9), now + 9, false},
		"put at now":               {0, withExpiry(put("k", "2"), api.ExpiryAt, now), 0, true},
		"put at the epoch":         {0, withExpiry(put("k", "2"), api.ExpiryAt, 0), 0, true},
		"put after":                {0, withExpiry(put("k", "2"), api.ExpiryAfter, 9), now + 9, false},
		"put after nothing":        {0, withExpiry(put("k", "2"), api.ExpiryAfter, 0), 0, true},
		"put after the end":        {0, withExpiry(put("k", "2"), api.ExpiryAfter, math.MaxUint64), math.MaxUint64, false},
		"increment keeps":          {now + 50, increment("k", 1), now + 50, false},
		"expire at":                {0, expire(api.ExpiryAt, now+7), now + 7, false},
		"expire after":             {now + 50, expire(api.ExpiryAfter, 7), now + 7, false},
		"expire none":              {now + 50, expire(api.ExpiryNone, 0), 0, false},
		"expire in the past":       {0, expire(api.ExpiryAt, now-1), 0, true},
		"expire what stays as is":  {now + 50, expire(api.ExpiryAt, now+50), now + 50, false},
		"delete with expiry modes": {now + 50, withExpiry(remove("k"), api.ExpiryAt, now+9), 0, true},
	} {
		b := configuredBench(t)
		b.must(withExpiry(put("k", "1"), api.ExpiryNone, 0))
		if c.prior != 0 {
			b.must(expire(api.ExpiryAt, c.prior))
		}
		b.now = now
		res := b.must(c.op)
		if !res.Ops[0].Existed {
			t.Errorf("%s: the key did not exist: %+v", name, res)
		}
		r, ok := b.get("k")
		if ok == c.gone || r.ExpiryMillis != c.want {
			t.Errorf("%s: live %t with expiry %d, want gone %t and %d", name, ok, r.ExpiryMillis, c.gone, c.want)
		}
	}
	b := configuredBench(t)
	if o := b.must(expire(api.ExpiryAfter, 100)).Ops[0]; o.Existed {
		t.Errorf("expire of an absent key: %+v", o)
	}
	b.wantAbsent("k")
}

func TestARowIsAbsentFromItsExpiryOn(t *testing.T) {
	b := configuredBench(t)
	at := b.now + 100
	b.must(putUntil("k", "5", at))
	b.now = at - 1
	if a := b.do(batch(when(put("x", ""), api.ConditionNone, 0), when(increment("k", 0), api.ConditionPresent, 0))); !a.Result.Applied {
		t.Fatalf("just before its expiry: %+v", a)
	}
	b.now = at
	res := b.must(previous(increment("k", 1)))
	if o := res.Ops[0]; o.Existed || o.Number != 1 || o.Previous != nil || o.PreviousVersion != 0 {
		t.Fatalf("at its expiry: %+v", o)
	}
	if r, _ := b.get("k"); r.ExpiryMillis != 0 {
		t.Fatalf("a key that was made again has the old expiry %d", r.ExpiryMillis)
	}
}

// S2.
func TestVersionsStrictlyIncreaseWhateverTheEntriesSay(t *testing.T) {
	b := configuredBench(t)
	var last api.Version
	check := func(what string, v api.Version) {
		t.Helper()
		if v <= last {
			t.Fatalf("%s: version %v after %v", what, v, last)
		}
		last = v
	}
	check("first", b.must(put("k", "")).Version)
	check("same time", b.must(put("k", "")).Version)
	b.now -= 10_000
	check("clock set back", b.must(put("k", "")).Version)
	b.now += 20_000
	check("clock ahead", b.must(put("k", "")).Version)
	if last.Millis() != b.now {
		t.Errorf("version %v does not follow the entry's time %d", last, b.now)
	}
	for _, a := range b.apply(b.entry(EncodeCommand(batch(put("a", ""))), EncodeCommand(batch(put("b", "")))))[0] {
		check("one entry", a.Result.Version)
	}
	ceiling := b.m.state().ceilingMillis
	b.term, b.now = 2, b.now-60_000
	check("next term", b.must(put("k", "")).Version)
	if last <= api.VersionAt(ceiling) {
		t.Errorf("the new term uses %v, at or below the old term's ceiling %d", last, ceiling)
	}
	check("same term", b.must(put("k", "")).Version)
	if s := b.m.state(); s.ceilingMillis < last.Millis() {
		t.Errorf("shard time %v is above the ceiling %d", last, s.ceilingMillis)
	}
}

// S5.
func TestOnlyItsOwnSlotsAtItsOwnEpoch(t *testing.T) {
	b := newBench(t)
	stale := func(what string, a Answer, epoch api.Epoch) {
		t.Helper()
		if !errors.Is(a.Err, api.ErrStaleMap) || a.Err.Epoch != epoch {
			t.Errorf("%s: %+v", what, a)
		}
	}
	stale("no arc yet", b.do(batch(put("foo", "1"))), 0)
	b.apply(b.entry(encodeConfigure(configuration{shard: 7, start: 12182, end: 12183, epoch: 3}))) // foo's slot
	b.apply(b.entry(encodeConfigure(fullArc(0))))                                                  // too late
	c := batch(put("foo", "1"))
	stale("older map", b.do(c), 3)
	c.Epoch = 4
	stale("newer map", b.do(c), 3)
	c.Epoch = 3
	if a := b.do(c); a.Err != nil || !a.Result.Applied {
		t.Errorf("own slot and epoch: %+v", a)
	}
	mixed := batch(put("foo", "2"), put("bar", "2"))
	mixed.Epoch = 3
	stale("one foreign key", b.do(mixed), 3)
	for _, kind := range []api.OpKind{api.OpCopy, api.OpRename} {
		foreign := batch(api.Op{Kind: kind, Key: []byte("foo"), Source: []byte("bar")})
		foreign.Epoch, foreign.Batch.Independent = 3, true
		stale("a foreign source", b.do(foreign), 3)
	}
	b.want("foo", "1")
	b.wantAbsent("bar")
	if _, err := b.m.Apply([]raft.Entry{b.entry(encodeConfigure(configuration{shard: 8, start: 0, end: 1, epoch: 1}))}); err == nil {
		t.Error("the log of another shard was applied")
	}
}

func TestDeadlinesAreInShardTime(t *testing.T) {
	b := configuredBench(t)
	c := batch(put("k", "v"))
	c.DeadlineMillis = b.now + 10
	b.now += 11
	if a := b.do(c); !errors.Is(a.Err, api.ErrExpired) {
		t.Errorf("one past: %+v", a)
	}
	b.wantAbsent("k")
	c.DeadlineMillis = b.now
	if a := b.do(c); a.Err != nil {
		t.Errorf("on time: %+v", a)
	}
}

func TestLimitsHoldInApply(t *testing.T) {
	b := configuredBench(t)
	for name, c := range map[string]struct {
		command Command
		want    error
	}{
		"no key":    {batch(put("", "v")), api.ErrInvalid},
		"long key":  {batch(put(strings.Repeat("k", api.MaxKeyBytes+1), "v")), api.ErrTooLarge},
		"no ops":    {batch(), api.ErrInvalid},
		"keep only": {batch(api.Op{Kind: api.OpExpire, Key: []byte("k"), Expiry: api.Expiry{Mode: api.ExpiryKeep}}), api.ErrInvalid},
		"floor":     {request(batch(put("k", "v")), b.now, 5, 6), api.ErrInvalid},
	} {
		if err := c.command.Validate(); !errors.Is(err, c.want) {
			t.Errorf("%s: Validate: %v", name, err)
		}
		if a := b.do(c.command); a.Err == nil || !errors.Is(a.Err, c.want) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	huge := batch(api.Op{Kind: api.OpPut, Key: []byte("k"), Value: make([]byte, api.MaxValueBytes+1)})
	if err := huge.Validate(); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("large value: %v", err)
	}
	two := batch(put("a", strings.Repeat("v", api.MaxBatchBytes/2)), put("b", strings.Repeat("v", api.MaxBatchBytes/2)))
	if err := two.Validate(); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("large batch: %v", err)
	}
	many := batch(make([]api.Op, api.MaxBatchOps+1)...)
	if err := many.Validate(); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("many operations: %v", err)
	}
}

func TestStoredValuesThatCommandsTakeUpAreBounded(t *testing.T) {
	b := configuredBench(t)
	value := bytes.Repeat([]byte("v"), 5<<20)
	for _, k := range []string{"a", "b"} {
		b.must(api.Op{Kind: api.OpPut, Key: []byte(k), Value: value})
	}
	a := b.do(batch(previous(remove("a")), previous(remove("b"))))
	if a.Err == nil || !errors.Is(a.Err, api.ErrTooLarge) {
		t.Fatalf("%+v", a.Err)
	}
	if _, ok := b.get("a"); !ok {
		t.Fatal("part of the batch was applied")
	}
	again := func(to, from string) api.Op { return api.Op{Kind: api.OpCopy, Key: []byte(to), Source: []byte(from)} }
	if a := b.do(batch(again("c", "a"), again("d", "b"))); a.Err == nil || !errors.Is(a.Err, api.ErrTooLarge) {
		t.Fatalf("copy: %+v", a.Err)
	}
	// Commands of one entry are bounded together. One that finds no room may come again.
	raw := func(sequence uint64) []byte {
		return EncodeCommand(request(batch(previous(when(remove("a"), api.ConditionAbsent, 0))), startMillis, sequence, 1))
	}
	answers := b.apply(b.entry(raw(1), EncodeCommand(batch(again("c", "b"))), raw(2), raw(3), raw(4)))[0]
	for i, want := range []error{nil, nil, nil, api.ErrOverloaded, ErrOutOfOrder} {
		if err := answers[i].Err; (err == nil) != (want == nil) || want != nil && !errors.Is(err, want) {
			t.Errorf("command %d: %v, want %v", i, err, want)
		}
	}
	if a := b.apply(b.entry(raw(3)))[0][0]; a.Err != nil || len(a.Result.Ops[0].Previous) != len(value) {
		t.Errorf("again: %v", a.Err)
	}
	for i, a := range b.apply(b.entry(raw(1), raw(2), raw(3), raw(1), raw(2)))[0] {
		if (a.Err == nil) != (i < 3) {
			t.Errorf("duplicate %d: %v", i, a.Err)
		}
	}
}

func TestCorruptAndUnknownEntriesStopTheReplica(t *testing.T) {
	good := EncodeEntry(Entry{Time: 1, Commands: [][]byte{encodeTick()}})
	torn := bytes.Clone(good)
	torn[len(torn)-1] ^= 1
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"checksum":   {torn, "checksum"},
		"empty":      {[]byte{}, "too short"},
		"opcode":     {EncodeEntry(Entry{Time: 1, Run: 99, Commands: [][]byte{{77, 1}}}), "opcode 77"},
		"evaluation": {EncodeEntry(Entry{Time: 1, Run: 99, Commands: [][]byte{{1, 9, 0}}}), "evaluation version 9"},
	} {
		b := configuredBench(t)
		b.must(put("k", "v"))
		b.index++
		before := b.digest()
		_, err := b.m.Apply([]raft.Entry{b.entry(EncodeCommand(batch(put("x", "")))), {Index: b.index + 1, Term: 1, Data: c.data}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if b.digest() != before {
			t.Errorf("%s: part of the run was applied", name)
		}
	}
	b := configuredBench(t)
	e := b.entry(encodeTick())
	b.apply(e)
	if _, err := b.m.Apply([]raft.Entry{e}); err == nil {
		t.Error("an entry was applied twice")
	}
}

func TestMembershipIsPartOfTheState(t *testing.T) {
	b := configuredBench(t)
	if s := b.m.Durable(); s.Index != 0 || len(s.Configuration.Servers) != 0 {
		t.Fatalf("durable before a flush: %+v", s)
	}
	var entries []raft.Entry
	for i := range 3 {
		b.index++
		c := &raft.Configuration{Index: b.index, Servers: []raft.Server{{Replica: raft.ReplicaID{Node: "n", Incarnation: uint64(i + 1)}, Voter: true}}}
		entries = append(entries, raft.Entry{Index: b.index, Term: 1, Configuration: c})
	}
	b.apply(entries[0])
	if err := b.m.Flush(); err != nil {
		t.Fatal(err)
	}
	b.apply(entries[1:]...)
	b.must(put("k", "v"))
	if s := b.m.Durable(); s.Index != entries[0].Index || s.Configuration.Index != entries[0].Index {
		t.Fatalf("durable: %+v, want the state of the flush", s)
	}
	s, err := b.m.Checkpoint("/data/checkpoint")
	if err != nil || s.Index != b.index || s.Configuration.Servers[0].Replica.Incarnation != 3 {
		t.Fatalf("checkpoint: %+v, %v", s, err)
	}
	b.close()
	b.open()
	if got := b.m.Durable(); got.Index != s.Index || got.Configuration.Index != s.Configuration.Index {
		t.Fatalf("after a restart: %+v, want %+v", got, s)
	}
}
