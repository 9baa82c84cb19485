package shard

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/evaluate"
)

func read(key string) Command {
	return batch(api.Op{Kind: api.OpGet, Key: []byte(key), ReturnPrevious: true})
}

// found is what a read found, in a form that is easy to compare.
func found(o Outcome) string {
	switch {
	case o.Err != nil:
		return string(api.CodeOf(o.Err))
	case !o.Result.Ops[0].Existed:
		return "absent"
	default:
		return string(o.Result.Ops[0].Previous)
	}
}

func TestEachCommandOfAPendingSeesWhatTheOnesBeforeItDid(t *testing.T) {
	c := newCluster(t, 1, clock.Real{}, nil)
	c.do(batch(put("a", "0")))
	s := c.leader().shard
	ctx := c.context()
	for _, name := range []string{"new", "again"} {
		first := s.Begin(ctx, []Command{read("a"), batch(put("a", "1")), read("a"), batch(put("a", "2")), batch(remove("b")), read("a"), read("b")})
		second := s.Begin(ctx, []Command{batch(put("a", "3")), batch(put("b", "4")), read("b"), read("a")})
		got := map[string]string{}
		for i, o := range first.Wait(ctx) {
			got[fmt.Sprint("first ", i)] = found(o)
		}
		for i, o := range second.Wait(ctx) {
			got[fmt.Sprint("second ", i)] = found(o)
		}
		before := "0"
		if name == "again" {
			before = "3"
		}
		for place, want := range map[string]string{
			"first 0": before, "first 2": "1", "first 5": "2", "first 6": "absent", "second 2": "4", "second 3": "3",
		} {
			if got[place] != want {
				t.Errorf("%s: %s found %s, want %s", name, place, got[place], want)
			}
		}
	}
}

// S3: a version that a command was never executed at is not one to read at; others get it yet.
func TestNothingIsReadAtTheVersionOfACommandThatWasNotExecuted(t *testing.T) {
	others, w := newPending(1), newPending(2)
	others.open, w.open = 1, 1
	w.outcomes[1].writes = true
	e := &entry{places: []place{{pending: others}, {pending: w, at: 1}}}
	e.answerLocked(nil, &Applied{First: 70, Answers: []Answer{{Err: evaluate.ErrOverloaded}, {Err: ErrOutOfOrder}}, Broken: true})
	if at, err := w.anchor(0, 1); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("the read before it is answered as of version %d, %v", at, err)
	}
}

func TestAPendingThatOnlyReadsWritesNothing(t *testing.T) {
	c := newCluster(t, 1, clock.Real{}, nil)
	c.do(batch(put("a", "0")))
	s := c.leader().shard
	before := s.Status().GetLastLogIndex()
	outcomes := s.Begin(c.context(), []Command{read("a")}).Wait(c.context())
	if got := found(outcomes[0]); got != "0" {
		t.Errorf("found %s", got)
	}
	outcomes = s.Begin(c.context(), []Command{read("a"), read("b")}).Wait(c.context())
	if a, b := found(outcomes[0]), found(outcomes[1]); a != "0" || b != "absent" || outcomes[0].Result.Version != 0 {
		t.Errorf("found %s and %s", a, b)
	}
	if after := s.Status().GetLastLogIndex(); after != before {
		t.Errorf("reads wrote %d entries", after-before)
	}
	if none := s.Begin(c.context(), nil).Wait(c.context()); len(none) != 0 {
		t.Errorf("no commands gave %d outcomes", len(none))
	}
}

func TestACommandThatCanNeverBeAppliedKeepsNoOtherFromIt(t *testing.T) {
	c := newCluster(t, 1, clock.Real{}, nil)
	s := c.leader().shard
	outcomes := s.Begin(c.context(), []Command{batch(put("a", "x")), batch(put("", "x")), batch(increment("a", 1)), batch(put("b", "y")), read("b")}).Wait(c.context())
	for i, want := range []api.Code{"", api.CodeInvalid, api.CodeNotInteger, "", ""} {
		if err := outcomes[i].Err; want == "" && err != nil || want != "" && api.CodeOf(err) != want {
			t.Errorf("command %d: %v, want %q", i, err, want)
		}
	}
	if got := found(outcomes[4]); got != "y" {
		t.Errorf("the last read found %s", got)
	}
}

func TestAPendingBegunTooLateIsNotExecuted(t *testing.T) {
	c := newCluster(t, 1, clock.Real{}, nil)
	s := c.leader().shard
	ctx, cancel := context.WithCancel(c.context())
	cancel()
	for i, o := range s.Begin(ctx, []Command{batch(put("a", "x")), read("a")}).Wait(c.context()) {
		if !errors.Is(o.Err, api.ErrExpired) {
			t.Errorf("command %d: %v", i, o.Err)
		}
	}
	if it := c.get("a"); it.Found {
		t.Errorf("found %q", it.Value)
	}
}
