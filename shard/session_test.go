package shard

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/testkit"
)

// S4, for every way in which a second delivery may come.
func TestADuplicateGetsTheSameAnswerAndRunsNothing(t *testing.T) {
	commands := map[string]func(created uint64) Command{
		"applied": func(c uint64) Command { return request(batch(previous(increment("n", 1))), c, 1, 1) },
		"condition failed": func(c uint64) Command {
			return request(batch(when(increment("n", 1), api.ConditionVersion, 5)), c, 1, 1)
		},
		"not an integer": func(c uint64) Command { return request(batch(increment("text", 1)), c, 1, 1) },
	}
	deliveries := map[string]func(b *bench, raw []byte) (first, second Answer){
		"same entry": func(b *bench, raw []byte) (Answer, Answer) {
			a := b.apply(b.entry(raw, raw))[0]
			return a[0], a[1]
		},
		"same run": func(b *bench, raw []byte) (Answer, Answer) {
			a := b.apply(b.entry(raw), b.entry(raw))
			return a[0][0], a[1][0]
		},
		"later run": func(b *bench, raw []byte) (Answer, Answer) {
			first := b.apply(b.entry(raw))[0][0]
			b.now += 1000
			return first, b.apply(b.entry(raw))[0][0]
		},
		"later term": func(b *bench, raw []byte) (Answer, Answer) {
			first := b.apply(b.entry(raw))[0][0]
			b.term++
			return first, b.apply(b.entry(raw))[0][0]
		},
		"after a restart": func(b *bench, raw []byte) (Answer, Answer) {
			first := b.apply(b.entry(raw))[0][0]
			b.close()
			b.open()
			return first, b.apply(b.entry(raw))[0][0]
		},
		"after a crash and a replay": func(b *bench, raw []byte) (Answer, Answer) {
			e := b.entry(raw)
			if err := b.m.Flush(); err != nil {
				b.t.Fatal(err)
			}
			b.apply(e)
			durable := b.crash(testkit.Rand(b.t))
			if durable.Index >= e.Index {
				b.t.Fatalf("durable up to %d without a flush", durable.Index)
			}
			return b.apply(e)[0][0], b.apply(b.entry(raw))[0][0]
		},
		"on a replica that installed a checkpoint": func(b *bench, raw []byte) (Answer, Answer) {
			first := b.apply(b.entry(raw))[0][0]
			if _, err := b.m.Checkpoint("/data/checkpoint"); err != nil {
				b.t.Fatal(err)
			}
			b.must(put("n", "overwritten")) // not in the checkpoint
			if err := b.m.Install("/data/checkpoint"); err != nil {
				b.t.Fatal(err)
			}
			return first, b.apply(b.entry(raw))[0][0]
		},
	}
	for what, command := range commands {
		for how, deliver := range deliveries {
			t.Run(what+"/"+how, func(t *testing.T) {
				b := configuredBench(t)
				b.must(put("n", "10"), put("text", "x"))
				first, second := deliver(b, EncodeCommand(command(b.now)))
				if !reflect.DeepEqual(first, second) {
					t.Fatalf("first %+v, then %+v", first, second)
				}
				want := "10"
				if what == "applied" {
					want = "11"
				}
				b.want("n", want)
			})
		}
	}
}

// S4, for batches of which some steps failed: that is an answer like any other.
func TestTheAnswerOfAnIndependentBatchIsKept(t *testing.T) {
	b := configuredBench(t)
	b.must(put("word", "x"), put("n", "1"))
	c := batch(
		increment("n", 1), increment("word", 1), when(put("n", "9"), api.ConditionAbsent, 0),
		api.Op{Kind: api.OpIncrementFloat, Key: []byte("n"), Value: []byte("0.5")}, api.Op{Kind: api.OpCopy, Key: []byte("c"), Source: []byte("none")},
	)
	c.Batch.Independent = true
	c = request(c, b.now, 1, 0)
	first := b.do(c)
	if first.Err != nil || first.Result.Ops[1].Code != api.CodeNotInteger || first.Result.Ops[2].Applied || first.Result.Ops[4].Code != api.CodeNotFound {
		t.Fatalf("%+v", first)
	}
	b.want("n", "2.5")
	for _, reopen := range []bool{false, true} {
		if reopen {
			b.flush()
			b.close()
			b.open()
		}
		if again := b.do(c); !reflect.DeepEqual(again, first) {
			t.Errorf("the answer was %+v, is %+v", first, again)
		}
		b.want("n", "2.5")
	}
}

// A batch that would be too much for its entry executed nothing, so it may be tried again.
func TestEachRefusalOfEvaluationIsKeptButNotForWantOfRoom(t *testing.T) {
	b := configuredBench(t)
	b.must(put("n", "9223372036854775807"), put("word", "x"), put("large", strings.Repeat("v", api.MaxWholeBytes)))
	get := func(key string) api.Op { return previous(api.Op{Kind: api.OpGet, Key: []byte(key)}) }
	for i, refused := range []struct {
		op   api.Op
		want *api.Error
	}{
		{increment("n", 1), evaluate.ErrOverflow},
		{increment("word", 1), evaluate.ErrNotInteger},
		{api.Op{Kind: api.OpIncrementFloat, Key: []byte("word"), Value: []byte("1")}, evaluate.ErrNotFloat},
		{api.Op{Kind: api.OpIncrementFloat, Key: []byte("n"), Value: []byte("inf")}, evaluate.ErrNotFinite},
		{api.Op{Kind: api.OpCopy, Key: []byte("c"), Source: []byte("none")}, evaluate.ErrNotFound},
		{api.Op{Kind: api.OpAppend, Key: []byte("large"), Value: []byte("v")}, evaluate.ErrValueTooLarge},
	} {
		c := request(batch(refused.op), b.now, uint64(i+1), 0)
		if a := b.do(c); a.Err != refused.want {
			t.Errorf("%+v: %+v", refused.op, a)
		}
		b.must(put("n", "0"), put("word", "0"), put("large", ""), put("none", "v")) // now it would go through
		if a := b.do(c); a.Err != refused.want {
			t.Errorf("%+v again: %+v", refused.op, a)
		}
		b.must(put("n", "9223372036854775807"), put("word", "x"), put("large", strings.Repeat("v", api.MaxWholeBytes)), remove("none"))
	}
	var commands [][]byte
	for i := range 3 {
		commands = append(commands, EncodeCommand(request(batch(get("large")), b.now, uint64(i+101), 100)))
	}
	answers := b.apply(b.entry(commands...))[0]
	if answers[0].Err != nil || answers[1].Err != nil || answers[2].Err != evaluate.ErrOverloaded {
		t.Fatalf("%v, %v, %v", answers[0].Err, answers[1].Err, answers[2].Err)
	}
	if a := b.do(request(batch(get("large")), b.now, 103, 100)); a.Err != nil {
		t.Errorf("tried again: %v", a.Err)
	}
}

func TestRefusalsBeforeEvaluationMayBeTriedAgain(t *testing.T) {
	b := configuredBench(t)
	stale := request(batch(increment("n", 1)), b.now, 1, 1)
	stale.Epoch = 9
	if a := b.do(stale); !errors.Is(a.Err, api.ErrStaleMap) {
		t.Fatalf("%+v", a)
	}
	late := request(batch(increment("n", 1)), b.now, 1, 1)
	late.DeadlineMillis = b.now - 1
	if a := b.do(late); !errors.Is(a.Err, api.ErrExpired) {
		t.Fatalf("%+v", a)
	}
	if sessions, answers := b.systemRows(); sessions != 0 || answers != 0 || b.m.state().sessions != 0 {
		t.Fatalf("%d sessions and %d answers after refusals", sessions, answers)
	}
	if a := b.do(request(batch(increment("n", 1)), b.now, 1, 1)); a.Err != nil || a.Result.Ops[0].Number != 1 {
		t.Fatalf("%+v", a)
	}
	if a := b.do(late); a.Err != nil || a.Result.Ops[0].Number != 1 {
		t.Fatalf("the first delivery, come late, got %+v", a)
	}
	b.want("n", "1")
}

func TestTheFloorReleasesAnswers(t *testing.T) {
	b := configuredBench(t)
	created := b.now
	for s := uint64(1); s <= 10; s++ {
		b.do(request(batch(increment("n", 1)), created, s, 1))
	}
	if sessions, answers := b.systemRows(); sessions != 1 || answers != 10 {
		t.Fatalf("%d sessions, %d answers", sessions, answers)
	}
	b.do(request(batch(increment("n", 1)), created, 11, 8))
	if _, answers := b.systemRows(); answers != 4 {
		t.Fatalf("%d answers are left, want those of 8 to 11", answers)
	}
	if a := b.do(request(batch(increment("n", 1)), created, 7, 1)); !errors.Is(a.Err, api.ErrReleased) {
		t.Errorf("below the floor: %+v", a)
	}
	if a := b.do(request(batch(increment("n", 1)), created, 8, 1)); a.Err != nil || a.Result.Ops[0].Number != 8 {
		t.Errorf("at the floor, with an older one of its own: %+v", a)
	}
	// A duplicate moves the floor as well.
	b.do(request(batch(increment("n", 1)), created, 11, 11))
	if _, answers := b.systemRows(); answers != 1 {
		t.Errorf("%d answers are left, want that of 11", answers)
	}
	// Far ahead, and back within the same entry.
	raw := func(sequence, floor uint64) []byte {
		return EncodeCommand(request(batch(increment("n", 1)), created, sequence, floor))
	}
	answers := b.apply(b.entry(raw(5000, 5000), raw(5000, 4500), raw(11, 11), raw(5001, 5001)))[0]
	if answers[1].Result.Ops[0].Number != 12 || !errors.Is(answers[2].Err, api.ErrReleased) || answers[3].Result.Ops[0].Number != 13 {
		t.Errorf("%+v", answers)
	}
	if _, answers := b.systemRows(); answers != 1 {
		t.Errorf("%d answers are left, want that of 5001", answers)
	}
	b.want("n", "13")
}

func TestTheWindowIsBounded(t *testing.T) {
	b := configuredBench(t)
	created := b.now
	if a := b.do(request(batch(increment("n", 1)), created, api.MaxSessionWindow+1, 1)); a.Err == nil || !errors.Is(a.Err, api.ErrInvalid) {
		t.Errorf("a new session beyond its window: %+v", a)
	}
	b.do(request(batch(increment("n", 1)), created, 1, 1))
	if a := b.do(request(batch(increment("n", 1)), created, api.MaxSessionWindow, 1)); a.Err != nil {
		t.Errorf("the last of the window: %+v", a)
	}
	if a := b.do(request(batch(increment("n", 1)), created, api.MaxSessionWindow+1, 1)); a.Err == nil || !errors.Is(a.Err, api.ErrInvalid) {
		t.Errorf("beyond the window: %+v", a)
	}
	b.want("n", "2")
}

func TestSessionsThatMayHaveBeenForgottenAreRefused(t *testing.T) {
	b := configuredBench(t)
	for _, c := range []struct {
		created uint64
		want    error
	}{
		{b.now - sessionHorizonMillis - 1, api.ErrReleased},
		{b.now - sessionHorizonMillis, nil},
		{b.now + sessionHorizonMillis, nil},
		{b.now + sessionHorizonMillis + 1, api.ErrInvalid},
		{^uint64(0), api.ErrReleased},
	} {
		a := b.do(request(batch(increment("n", 1)), c.created, 1, 1))
		if (a.Err == nil) != (c.want == nil) || c.want != nil && !errors.Is(a.Err, c.want) && !errors.Is(a.Err, api.ErrInvalid) {
			t.Errorf("created %d ms from now: %+v, want %v", int64(c.created-b.now), a.Err, c.want)
		}
	}
	b.want("n", "2")
}

func TestTicksForgetIdleSessionsAndNoOthers(t *testing.T) {
	b := configuredBench(t)
	const idle, busy = 50, 5
	as := func(i, sequence, floor uint64) Command {
		c := batch(increment("n", 1))
		c.Request = api.RequestID{Session: api.SessionID{CreatedMillis: startMillis + i%7, Random: i}, Sequence: sequence, Floor: floor}
		return c
	}
	for i := range uint64(idle) {
		for s := uint64(1); s <= 3; s++ {
			b.do(as(i, s, 1))
		}
	}
	step := sessionHorizonMillis / 4
	for round := range uint64(4) {
		b.now += step
		for i := range uint64(busy) {
			if a := b.do(as(i, 4+round, 1)); a.Err != nil {
				t.Fatal(a.Err)
			}
		}
		b.tick()
	}
	b.now += lastUsedStepMillis + 10
	b.tick()
	if sessions, answers := b.systemRows(); sessions != busy || answers != busy*7 || b.m.state().sessions != busy {
		t.Fatalf("%d sessions (%d counted) and %d answers, want %d and %d", sessions, b.m.state().sessions, answers, busy, busy*7)
	}
	before, _ := b.get("n")
	if a := b.do(as(busy, 2, 1)); !errors.Is(a.Err, api.ErrReleased) {
		t.Errorf("a forgotten session ran again: %+v", a)
	}
	if a := b.do(as(0, 3, 1)); a.Err != nil {
		t.Errorf("a busy session lost an answer: %+v", a)
	}
	b.want("n", string(before.Value))
	b.now += 2 * sessionHorizonMillis
	b.tick()
	if sessions, answers := b.systemRows(); sessions != 0 || answers != 0 || b.m.state().sessions != 0 {
		t.Errorf("%d sessions and %d answers are left", sessions, answers)
	}
}

func TestOneTickForgetsABoundedNumberOfRows(t *testing.T) {
	b := configuredBench(t)
	const sessions = maxSweepRows + 500
	var raw [][]byte
	for i := range uint64(sessions) {
		c := batch(put(fmt.Sprint("k", i%10), ""))
		c.Request = api.RequestID{Session: api.SessionID{CreatedMillis: startMillis, Random: i}, Sequence: 1, Floor: 1}
		if raw = append(raw, EncodeCommand(c)); len(raw) == 500 || i == sessions-1 {
			b.apply(b.entry(raw...))
			raw = nil
		}
	}
	b.now += 2 * sessionHorizonMillis
	b.tick()
	if left, answers := b.systemRows(); left != sessions-maxSweepRows || left != answers {
		t.Fatalf("%d sessions and %d answers are left after one tick", left, answers)
	}
	b.tick() // within the same second: no sweep
	if left, _ := b.systemRows(); left != sessions-maxSweepRows {
		t.Fatalf("%d sessions are left after a second tick at once", left)
	}
	b.now += sweepEveryMillis
	b.tick()
	if left, _ := b.systemRows(); left != 0 || b.m.state().sessions != 0 {
		t.Fatalf("%d sessions are left", left)
	}
}
