package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
)

// fakeLog keeps what is proposed until the test answers it.
type fakeLog struct {
	mu      sync.Mutex
	entries []*fakeProposal
	unready error
	term    atomic.Uint64
}

func (l *fakeLog) Ready() error { return l.unready }

type fakeProposal struct {
	entry   Entry
	bytes   int
	settled func(any, api.Index, error)
}

func (l *fakeLog) Propose(data []byte, settled func(any, api.Index, error)) {
	e, err := DecodeEntry(data)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, &fakeProposal{entry: e, bytes: len(data), settled: settled})
}

func (l *fakeLog) Term() api.Term       { return api.Term(l.term.Load()) }
func (l *fakeLog) Applied() api.Version { return 0 }

// echo answers each command of an entry with its place in FailedOp.
func (p *fakeProposal) echo() {
	applied := &Applied{First: p.entry.Time, Answers: make([]Answer, len(p.entry.Commands))}
	for i := range applied.Answers {
		applied.Answers[i].Result = api.Result{FailedOp: i, Version: p.entry.Time}
	}
	p.settled(applied, 1, nil)
}

func (p *fakeProposal) fail(err error) { p.settled(nil, 0, err) }

func (l *fakeLog) proposed() []*fakeProposal {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*fakeProposal(nil), l.entries...)
}

// outcome is what one caller of the proposer got.
type outcome struct {
	answer Answer
	err    error
}

func newTestProposer(t *testing.T) (*proposer, *fakeLog) {
	l := &fakeLog{}
	l.term.Store(1)
	p := newProposer(l, &hybridClock{wall: clock.NewManual(time.UnixMilli(int64(startMillis)))}, clock.Real{})
	p.start()
	t.Cleanup(p.close)
	return p, l
}

// marked is a command that can be told from others.
func marked(mark byte) Command { return batch(put("key", string([]byte{mark}))) }

// sized is a command that brings so many bytes.
func sized(bytes int) Command { return batch(put("k", string(make([]byte, bytes)))) }

// begin queues commands as Shard.Begin does.
func begin(p *proposer, commands ...Command) (*Pending, error) {
	w := (&Shard{options: Options{ID: 7}, proposer: p}).prepare(commands)
	return w, p.begin(w)
}

func submit(ctx context.Context, p *proposer, c Command) (Answer, error) {
	w, err := begin(p, c)
	if err != nil {
		return Answer{}, err
	}
	o := w.Wait(ctx)[0]
	return Answer{Result: o.Result}, o.Err
}

func submitAsync(ctx context.Context, p *proposer, cmd Command) chan outcome {
	c := make(chan outcome, 1)
	go func() {
		a, err := submit(ctx, p, cmd)
		c <- outcome{a, err}
	}()
	return c
}

func tickAsync(ctx context.Context, p *proposer) chan outcome {
	c := make(chan outcome, 1)
	go func() { c <- outcome{err: p.tick(ctx)} }()
	return c
}

// occupied are the commands of the entries with which occupy fills the flight: each carries as
// much as all before it.
var occupied = []int{1, 1, 2, 4}

// occupy has maxInFlight entries fly.
func occupy(t *testing.T, p *proposer) []*Pending {
	t.Helper()
	var flying []*Pending
	for _, n := range occupied {
		w, err := begin(p, slices.Repeat([]Command{marked(0)}, n)...)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		flying = append(flying, w)
	}
	return flying
}

func TestWhatWaitsIsPackedWhileFourEntriesAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		occupy(t, p)
		for i, e := range l.proposed() {
			if len(e.entry.Commands) != occupied[i] {
				t.Fatalf("entry %d has %d commands while there is room for it", i, len(e.entry.Commands))
			}
		}
		var waiting []chan outcome
		for i := range 50 {
			waiting = append(waiting, submitAsync(t.Context(), p, marked(byte(i))))
			synctest.Wait()
		}
		if n := len(l.proposed()); n != maxInFlight {
			t.Fatalf("%d entries in flight", n)
		}
		l.proposed()[0].echo()
		synctest.Wait()
		all := l.proposed()
		if len(all) != maxInFlight+1 || len(all[maxInFlight].entry.Commands) != 50 {
			t.Fatalf("after one answer %d entries, the last of %d commands", len(all), len(all[len(all)-1].entry.Commands))
		}
		for i := 1; i < len(all); i++ {
			if before := all[i-1].entry; all[i].entry.Time < before.Time+api.Version(len(before.Commands)) {
				t.Errorf("entry %d at %v comes too soon after %v", i, all[i].entry.Time, before.Time)
			}
			if ahead := all[i].entry.CeilingMillis - all[i].entry.Time.Millis(); ahead != maxCeilingAheadMillis {
				t.Errorf("ceiling %d ms ahead", ahead)
			}
			all[i].echo()
		}
		for i, w := range waiting {
			if o := <-w; o.err != nil || o.answer.Result.FailedOp != i {
				t.Errorf("waiter %d got %+v, want the answer of its place", i, o)
			}
			if c := all[maxInFlight].entry.Commands[i]; c[len(c)-1] != byte(i) {
				t.Errorf("command %d is not in its place", i)
			}
		}
	})
}

func TestAnEntryFliesBesideOthersOnlyIfItCarriesAsMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		entries := func(want int) {
			t.Helper()
			synctest.Wait()
			if n := len(l.proposed()); n != want {
				t.Fatalf("%d entries fly, want %d", n, want)
			}
		}
		if _, err := begin(p, slices.Repeat([]Command{marked(0)}, 10)...); err != nil {
			t.Fatal(err)
		}
		entries(1)
		for range 9 {
			submitAsync(t.Context(), p, marked(0))
		}
		entries(1)
		submitAsync(t.Context(), p, marked(0))
		entries(2)
		submitAsync(t.Context(), p, marked(0))
		l.proposed()[0].echo()
		entries(2) // one command waits for the ten that still fly
		l.proposed()[1].echo()
		entries(3)
		for range 3 {
			submitAsync(t.Context(), p, sized(maxEntryBytes-1))
			synctest.Wait()
		}
		entries(5) // the first carries as much, the second is full, the third is neither
	})
}

func TestEntriesAreBoundedByBytesAndCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		occupy(t, p)
		for _, size := range []int{100 << 10, 100 << 10, 100 << 10, 3 << 20, 10} {
			submitAsync(t.Context(), p, sized(size))
			synctest.Wait()
		}
		for range maxEntryCommands + 10 {
			submitAsync(t.Context(), p, marked(0))
		}
		synctest.Wait()
		for i := 0; i < len(l.proposed()); i++ {
			l.proposed()[i].echo()
			synctest.Wait()
		}
		var counts []int
		for _, e := range l.proposed()[maxInFlight:] {
			counts = append(counts, len(e.entry.Commands))
		}
		if got, want := fmt.Sprint(counts), fmt.Sprint([]int{2, 1, 1, maxEntryCommands - 1, 12}); got != want {
			t.Errorf("entries of %s commands, want %s", got, want)
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newTestProposer(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		occupy(t, p)
		for range maxQueueBytes / (8 << 20) {
			submitAsync(ctx, p, sized(8<<20))
		}
		synctest.Wait()
		if _, err := submit(ctx, p, sized(8<<20)); !errors.Is(err, api.ErrOverloaded) {
			t.Errorf("too many bytes: %v", err)
		}
		for range maxQueueCommands - maxQueueBytes/(8<<20) {
			submitAsync(ctx, p, marked(0))
		}
		synctest.Wait()
		if _, err := submit(ctx, p, marked(0)); !errors.Is(err, api.ErrOverloaded) {
			t.Errorf("too many commands: %v", err)
		}
	})
}

func TestGivingUpIsUnknownOnlyOnceProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		proposed := occupy(t, p)
		queued := []chan outcome{submitAsync(ctx, p, marked(0)), submitAsync(ctx, p, marked(0))}
		for _, w := range proposed {
			for _, o := range w.Wait(ctx) {
				if !errors.Is(o.Err, api.ErrUnknownOutcome) {
					t.Errorf("proposed: %+v", o)
				}
			}
		}
		for _, w := range queued {
			if o := <-w; !errors.Is(o.err, api.ErrExpired) {
				t.Errorf("queued: %+v", o)
			}
		}
		l.proposed()[0].echo()
		synctest.Wait()
		if n := len(l.proposed()); n != maxInFlight {
			t.Errorf("%d entries were proposed, want none for those that gave up", n)
		}
	})
}

func TestEveryWaiterLearnsTheClassOfTheError(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want *api.Error
		kept bool // whether reads must still mind the entry
	}{
		"not leader": {&api.Error{Code: api.CodeNotLeader, Leader: "b"}, api.ErrNotLeader, false},
		"overloaded": {api.ErrOverloaded, api.ErrOverloaded, false},
		"unknown":    {api.ErrUnknownOutcome, api.ErrUnknownOutcome, true},
		"no code":    {errors.New("disk"), api.ErrUnknownOutcome, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, l := newTestProposer(t)
			first := submitAsync(t.Context(), p, marked(0))
			synctest.Wait()
			l.proposed()[0].fail(c.err)
			if o := <-first; !errors.Is(o.err, c.want) {
				t.Errorf("%s: %+v", name, o)
			}
			synctest.Wait()
			at, _ := p.clock.readTime(^api.Version(0), &state{term: 1})
			if below := at < l.proposed()[0].entry.Time; below != c.kept {
				t.Errorf("%s: a read at %v, the entry at %v", name, at, l.proposed()[0].entry.Time)
			}
			at, _ = p.clock.readTime(^api.Version(0), &state{term: 2})
			if at < l.proposed()[0].entry.Time {
				t.Errorf("%s: a read at %v although a later term has begun", name, at)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		w := submitAsync(t.Context(), p, marked(0))
		synctest.Wait()
		l.proposed()[0].settled(17, 1, nil)
		if o := <-w; !errors.Is(o.err, api.ErrInternal) {
			t.Errorf("a foreign result: %+v", o)
		}
	})
}

func TestTicksOfAnEntryAreOneAndStandFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		occupy(t, p)
		write := submitAsync(t.Context(), p, marked(77))
		synctest.Wait()
		ticks := []chan outcome{tickAsync(t.Context(), p), tickAsync(t.Context(), p)}
		synctest.Wait()
		for _, sent := range l.proposed() {
			sent.echo()
		}
		synctest.Wait()
		e := l.proposed()[maxInFlight]
		if len(e.entry.Commands) != 2 || string(e.entry.Commands[0]) != string(encodeTick()) {
			t.Fatalf("entry %x", e.entry.Commands)
		}
		e.echo()
		if o := <-write; o.err != nil || o.answer.Result.FailedOp != 1 {
			t.Errorf("the write got %+v", o)
		}
		for _, w := range ticks {
			if o := <-w; o.err != nil {
				t.Errorf("a tick got %+v", o)
			}
		}
	})
}

// A tick judges no row, so a read may use a time above that of a tick on its way. A write may
// yet find alive what such a read would call expired.
func TestReadsWaitForWritesOnTheirWayAndNotForTicks(t *testing.T) {
	for name, c := range map[string]struct {
		send  func(context.Context, *proposer) chan outcome
		above bool
	}{
		"tick":  {tickAsync, true},
		"write": {func(ctx context.Context, p *proposer) chan outcome { return submitAsync(ctx, p, marked(0)) }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, l := newTestProposer(t)
			done := c.send(t.Context(), p)
			synctest.Wait()
			sent := l.proposed()[0].entry.Time
			p.clock.wall.(*clock.Manual).Advance(time.Second)
			if at, _ := p.clock.readTime(api.VersionAt(startMillis+5000), &state{}); (at > sent) != c.above {
				t.Errorf("a %s is on its way at %v, and reads are at %v", name, sent, at)
			}
			l.proposed()[0].echo()
			<-done
		})
	}
}

func TestOneTickAtATimeThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		for round := range 3 {
			for range 10 {
				p.tickSoon()
				synctest.Wait()
			}
			sent := l.proposed()
			if len(sent) != round+1 || string(sent[round].entry.Commands[0]) != string(encodeTick()) {
				t.Fatalf("round %d: %d entries", round, len(sent))
			}
			sent[round].echo()
			synctest.Wait()
		}
	})
}

func TestCloseTellsEveryoneWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newTestProposer(t)
		proposed := occupy(t, p)
		queued := []chan outcome{submitAsync(t.Context(), p, marked(0)), tickAsync(t.Context(), p)}
		synctest.Wait()
		p.close()
		for _, w := range proposed {
			for _, o := range w.Wait(t.Context()) {
				if !errors.Is(o.Err, api.ErrUnknownOutcome) {
					t.Errorf("proposed: %+v", o)
				}
			}
		}
		for _, w := range queued {
			if o := <-w; !errors.Is(o.err, api.ErrShuttingDown) {
				t.Errorf("queued: %+v", o)
			}
		}
		if _, err := submit(t.Context(), p, marked(0)); !errors.Is(err, api.ErrShuttingDown) {
			t.Errorf("after close: %v", err)
		}
	})
}

// A wall clock that is off makes a leader unready; what it shows then must not be remembered.
func TestNoTimeIsMadeWhileTheReplicaIsNotReady(t *testing.T) {
	wall := clock.NewManual(time.UnixMilli(int64(startMillis)).Add(time.Hour))
	l := &fakeLog{unready: api.Errorf(api.CodeNotLeader, "not ready")}
	p := newProposer(l, &hybridClock{wall: wall}, clock.Real{})
	p.start()
	defer p.close()
	for range 2 * maxInFlight { // refused commands give their slots back
		if _, err := submit(t.Context(), p, marked(1)); !errors.Is(err, api.ErrNotLeader) {
			t.Fatalf("submit: %v", err)
		}
	}
	wall.Advance(-time.Hour)
	if at := p.clock.begin(1, 0); at.Millis() != startMillis || len(l.proposed()) != 0 {
		t.Fatalf("the next entry is at %v, after %d that were proposed", at, len(l.proposed()))
	}
}

func TestTheClockNeverGoesBack(t *testing.T) {
	wall := clock.NewManual(time.UnixMilli(int64(startMillis)))
	c := &hybridClock{wall: wall}
	var last api.Version
	for i, jump := range []time.Duration{0, time.Second, -time.Hour, 0, time.Millisecond, 2 * time.Hour, -time.Minute} {
		wall.Advance(jump)
		at, _ := c.readTime(^api.Version(0), &state{})
		if at < last {
			t.Errorf("step %d: read at %v after %v", i, at, last)
		}
		next := c.begin(3, 0)
		if next <= at || next <= last {
			t.Errorf("step %d: entry at %v after a read at %v and %v", i, next, at, last)
		}
		if again, _ := c.readTime(^api.Version(0), &state{}); again != next-1 {
			t.Errorf("step %d: a read at %v beside an entry on its way at %v", i, again, next)
		}
		c.settle(next)
		last = next + 2
	}
	if next := c.begin(1, last+1000); next <= last+1000 {
		t.Errorf("an entry at %v, below what is applied", next)
	}
}
