package shard

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/raft"
)

// numbered makes an entry with a place in a run.
func (b *bench) numbered(run, sequence uint64, commands ...[]byte) raft.Entry {
	b.index++
	return raft.Entry{Index: b.index, Term: b.term, Data: EncodeEntry(Entry{
		Time: api.VersionAt(b.now), CeilingMillis: b.now + maxCeilingAheadMillis, Run: run, Sequence: sequence, Commands: commands,
	})}
}

func TestWhatStandsBehindARefusedEntryIsNotExecuted(t *testing.T) {
	b := configuredBench(t)
	write := func(key string) []byte { return EncodeCommand(batch(put(key, "x"))) }
	for i, c := range []struct {
		run, sequence uint64
		executed      bool
	}{
		{50, 1, false}, // a run begins at 0
		{50, 0, true},
		{50, 1, true},
		{50, 3, false}, // the log refused 2
		{50, 4, false},
		{50, 2, true}, // no proposer sends it, but it would be in order
		{49, 0, false},
		{60, 0, true},
		{60, 0, false},
		{50, 3, false},
		{70, 1, false},
		{60, 1, true},
	} {
		key := string(rune('a' + i))
		results, err := b.m.Apply([]raft.Entry{b.numbered(c.run, c.sequence, write(key), write(key+key))})
		if err != nil {
			t.Fatal(err)
		}
		applied := results[0].(*Applied)
		if applied.Broken == c.executed || (applied.First != 0) != c.executed {
			t.Errorf("S9: entry %d of run %d: %+v", c.sequence, c.run, applied)
		}
		for _, a := range applied.Answers {
			if (a.Err == nil) != c.executed || a.Err != nil && !errors.Is(a.Err, api.ErrUnavailable) {
				t.Errorf("S9: entry %d of run %d: %v", c.sequence, c.run, a.Err)
			}
		}
		if _, ok := b.get(key + key); ok != c.executed {
			t.Errorf("S9: entry %d of run %d was executed: %t", c.sequence, c.run, ok)
		}
	}
	// The order outlives the process.
	b.close()
	b.open()
	if a := b.apply(b.numbered(60, 3, write("z")))[0][0]; a.Err == nil {
		t.Error("S9: a gap was not seen after a restart")
	}
}

func TestAnOverloadedCommandHoldsUpWhatStandsBehindIt(t *testing.T) {
	b := configuredBench(t)
	b.must(put("a", string(make([]byte, 7<<20))))
	take := EncodeCommand(batch(previous(when(remove("a"), api.ConditionAbsent, 0))))
	write := EncodeCommand(batch(put("b", "x")))
	first := b.apply(b.numbered(90, 0, take, take, take, write), b.numbered(90, 1, write))
	for i, want := range []error{nil, nil, api.ErrOverloaded, ErrOutOfOrder} {
		if a := first[0][i]; (a.Err == nil) != (want == nil) || want != nil && !errors.Is(a.Err, want) {
			t.Errorf("command %d: %v, want %v", i, a.Err, want)
		}
	}
	if first[1][0].Err != ErrOutOfOrder {
		t.Errorf("S9: the next entry of the run: %+v", first[1][0])
	}
	b.wantAbsent("b")
	b.apply(b.numbered(91, 0, write))
	b.want("b", "x")
}

// follow applies what was proposed, as a replica does.
func (b *bench) follow(p *fakeProposal) {
	b.t.Helper()
	b.index++
	results, err := b.m.Apply([]raft.Entry{{Index: b.index, Term: b.term, Data: EncodeEntry(p.entry)}})
	if err != nil {
		b.t.Fatal(err)
	}
	p.settled(results[0], b.index, nil)
}

// A leadership transfer that fails leaves the leader in its term: of two entries in flight the
// library refuses the first and takes the second.
func TestATransferThatEndsInTheSameTermReordersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := configuredBench(t)
		p, l := newTestProposer(t)
		first := submitAsync(t.Context(), p, batch(put("k", "1")))
		synctest.Wait()
		second := submitAsync(t.Context(), p, batch(put("k", "2")))
		synctest.Wait()
		sent := l.proposed()
		sent[0].fail(api.Errorf(api.CodeUnavailable, "leadership transfer in progress"))
		third := submitAsync(t.Context(), p, batch(put("k", "3")))
		synctest.Wait()
		if n := len(l.proposed()); n != 2 {
			t.Fatalf("S9: %d entries are proposed before the broken run is settled", n)
		}
		b.follow(sent[1])
		for _, w := range []chan outcome{first, second} {
			if o := <-w; !errors.Is(o.err, api.ErrUnavailable) {
				t.Errorf("S9: %+v", o)
			}
		}
		b.wantAbsent("k")
		synctest.Wait()
		again := l.proposed()[2]
		if again.entry.Sequence != 0 || again.entry.Run <= sent[1].entry.Run {
			t.Errorf("S9: entry %d of run %d after run %d", again.entry.Sequence, again.entry.Run, sent[1].entry.Run)
		}
		b.follow(again)
		if o := <-third; o.err != nil {
			t.Errorf("a new run: %+v", o)
		}
		b.want("k", "3")
	})
}

func TestANewTermBeginsARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		for i, term := range []uint64{1, 1, 2, 2, 3} {
			l.term.Store(term)
			w := submitAsync(t.Context(), p, marked(0))
			synctest.Wait()
			sent := l.proposed()
			e := sent[i].entry
			if first := i == 0 || i == 2 || i == 4; first != (e.Sequence == 0) || first && e.Run != uint64(e.Time) {
				t.Errorf("S9: entry %d has sequence %d of run %d", i, e.Sequence, e.Run)
			}
			sent[i].echo()
			<-w
		}
	})
}

func TestNothingOfAPendingIsProposedBehindWhatWasRefused(t *testing.T) {
	for name, c := range map[string]struct {
		refused error
		want    *api.Error // for what was not proposed
	}{
		"not executed": {api.ErrNotLeader, api.ErrNotLeader},
		"unknown":      {api.ErrUnknownOutcome, api.ErrUnavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, l := newTestProposer(t)
			if _, err := begin(p, slices.Repeat([]Command{marked(0)}, 10)...); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			w, err := begin(p, sized(maxEntryBytes), sized(10), sized(20), marked(1))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			other := submitAsync(t.Context(), p, marked(2))
			synctest.Wait()
			flying := l.proposed()
			flying[1].fail(c.refused)
			flying[0].echo()
			synctest.Wait()
			outcomes := w.Wait(t.Context())
			if !errors.Is(outcomes[0].Err, c.refused) {
				t.Errorf("%s: the first command got %v", name, outcomes[0].Err)
			}
			for i, o := range outcomes[1:] {
				if !errors.Is(o.Err, c.want) {
					t.Errorf("%s: command %d got %v, want %v", name, i+1, o.Err, c.want)
				}
			}
			last := l.proposed()[len(flying)]
			if len(last.entry.Commands) != 1 {
				t.Fatalf("%s: %d commands are proposed, want the other caller's", name, len(last.entry.Commands))
			}
			last.echo()
			if o := <-other; o.err != nil {
				t.Errorf("%s: the other caller got %v", name, o.err)
			}
		})
	}
}

func TestWhatWaitsForTooLongIsRefusedAndNotProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		occupy(t, p)
		old := submitAsync(t.Context(), p, marked(1))
		synctest.Wait()
		<-time.After(maxQueueAge / 2)
		young := submitAsync(t.Context(), p, marked(2))
		synctest.Wait()
		<-time.After(maxQueueAge/2 + time.Millisecond)
		if _, err := begin(p, marked(3)); !errors.Is(err, api.ErrOverloaded) {
			t.Errorf("behind a queue that does not move: %v", err)
		}
		for _, sent := range l.proposed() {
			sent.echo()
		}
		if o := <-old; !errors.Is(o.err, api.ErrOverloaded) {
			t.Errorf("the old one got %+v", o)
		}
		synctest.Wait()
		l.proposed()[maxInFlight].echo()
		if o := <-young; o.err != nil || len(l.proposed()[maxInFlight].entry.Commands) != 1 {
			t.Errorf("the young one got %+v", o)
		}
	})
}

func TestWhatIsPastItsDeadlineIsNotProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		late, soon := marked(1), marked(2)
		late.DeadlineMillis, soon.DeadlineMillis = startMillis-1, startMillis
		w, err := begin(p, late)
		if err != nil {
			t.Fatal(err)
		}
		if o := w.Wait(t.Context())[0]; !errors.Is(o.Err, api.ErrExpired) || len(l.proposed()) != 0 {
			t.Errorf("past its deadline: %v", o.Err)
		}
		done := submitAsync(t.Context(), p, soon)
		synctest.Wait()
		l.proposed()[0].echo()
		if o := <-done; o.err != nil {
			t.Errorf("at its deadline: %v", o.err)
		}
	})
}

func TestGivingUpKeepsTheCommandsOfOthersInTheEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		occupy(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		var kept []chan outcome
		for i := range 5 {
			if i%2 == 0 {
				kept = append(kept, submitAsync(t.Context(), p, sized(i*100)))
			} else {
				submitAsync(ctx, p, sized(i*100))
			}
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		for _, sent := range l.proposed() {
			sent.echo()
		}
		synctest.Wait()
		e := l.proposed()[maxInFlight]
		if len(e.entry.Commands) != len(kept) {
			t.Fatalf("%d commands, want %d", len(e.entry.Commands), len(kept))
		}
		for i, raw := range e.entry.Commands {
			if c, err := DecodeCommand(raw); err != nil || len(c.Batch.Ops[0].Value) != 200*i {
				t.Errorf("command %d: %+v, %v", i, c, err)
			}
		}
		e.echo()
		for i, w := range kept {
			if o := <-w; o.err != nil || o.answer.Result.FailedOp != i {
				t.Errorf("waiter %d got %+v", i, o)
			}
		}
	})
}
