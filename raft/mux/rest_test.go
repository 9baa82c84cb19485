package mux

import (
	"testing"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/testkit"
)

// restingPipeline has a follower that has committed entry 1 in term 2, and an empty append that rests.
func restingPipeline(t *testing.T) (p *wirePair, done <-chan error) {
	t.Helper()
	p = newWirePair(t)
	pipe := p.pipeline(t)
	p.owner.commit.Store(1)
	p.beat(t, 2)
	ended := make(chan error, 1)
	go func() {
		_, err := pipe.AppendEntries(request(2), &hraft.AppendEntriesResponse{})
		ended <- err
	}()
	testkit.Eventually(t, patience, func() bool { return p.a.resting.Load() == 1 }, "the sender does not rest")
	return p, ended
}

// beat exchanges a heartbeat, which the follower answers with a term.
func (p *wirePair) beat(t *testing.T, term uint64) {
	t.Helper()
	done := beatAsync(p.a, p.target, 2)
	p.answer(t, &hraft.AppendEntriesResponse{Term: term, Success: term == 2}, nil)
	if err := outcome(t, done); (err == nil) != (term == 2) {
		t.Fatal(err)
	}
}

// TestASenderWithNothingToTellRestsUntilThereIs (RM8), while heartbeats go on.
func TestASenderWithNothingToTellRestsUntilThereIs(t *testing.T) {
	for _, c := range []struct {
		name string
		wake func(*testing.T, *wirePair)
	}{
		{"an entry is stored", func(_ *testing.T, p *wirePair) { p.a.Stored(2) }},
		{"a later term answers", func(t *testing.T, p *wirePair) { p.beat(t, 3) }},
		{"the follower has forgotten", func(t *testing.T, p *wirePair) { p.owner.commit.Store(0); p.beat(t, 2) }},
		{"the leadership ends", func(_ *testing.T, p *wirePair) { p.asking.leads.Store(3); p.a.EndEras() }},
		{"the group is closed", func(_ *testing.T, p *wirePair) { _ = p.a.Close() }},
		{"the follower falls silent", func(_ *testing.T, p *wirePair) {
			for range restLooks {
				p.a.Look()
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, done := restingPipeline(t)
			for range 3 { // what the follower answers keeps the sender asleep, however often it is looked at
				for range restLooks - 1 {
					p.a.Look()
				}
				p.beat(t, 2)
			}
			if len(done) != 0 {
				t.Fatal("the sender woke up for nothing")
			}
			c.wake(t, p)
			if err := outcome(t, done); err != nil {
				t.Fatal(err)
			}
			if n := p.a.resting.Load(); n != 0 {
				t.Fatalf("%d are said to rest", n)
			}
		})
	}
}

// TestASenderDoesNotRestWhileItOwesSomething: a commit index, or an entry that was stored meanwhile.
func TestASenderDoesNotRestWhileItOwesSomething(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t)
	p.owner.commit.Store(1)
	p.beat(t, 2)
	owed := request(2)
	owed.PrevLogEntry = 2 // the follower has it, and does not know yet that it is committed
	if _, err := pipe.AppendEntries(owed, &hraft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	p.a.Stored(2)
	if _, err := pipe.AppendEntries(request(2), &hraft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
}

// TestAfterASilentFollowerTheNextAppendIsSent, which keeps contact when heartbeats do not get through.
func TestAfterASilentFollowerTheNextAppendIsSent(t *testing.T) {
	p, done := restingPipeline(t)
	for range restLooks {
		p.a.Look()
	}
	if err := outcome(t, done); err != nil {
		t.Fatal(err)
	}
	if p.a.knows(p.target, request(2)) {
		t.Fatal("the next append would not be sent")
	}
}
