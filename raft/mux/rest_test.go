package mux

import (
	"testing"
	"testing/synctest"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/testkit"
)

// restingPipeline has a follower that has committed entry 1 in term 2, and an empty append that rests.
func restingPipeline(t *testing.T) (p *wirePair, pipe hraft.AppendPipeline, done <-chan error) {
	t.Helper()
	p = newWirePair(t)
	pipe = p.pipeline(t)
	p.owner.commit.Store(1)
	p.beat(t, 2)
	ended := make(chan error, 1)
	go func() {
		_, err := pipe.AppendEntries(request(2), &hraft.AppendEntriesResponse{})
		ended <- err
	}()
	testkit.Eventually(t, patience, func() bool { return p.a.resting.Load() == 1 }, "the sender does not rest")
	return p, pipe, ended
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

// TestASenderWithNothingToTellRestsUntilThereIs (RM8), and so do the library's heartbeats (RM11): they go on without it,
// and it hears of each answer.
func TestASenderWithNothingToTellRestsUntilThereIs(t *testing.T) {
	for _, c := range []struct {
		name  string
		wake  func(*testing.T, *wirePair)
		fails bool // the heartbeat that goes on
	}{
		{"an entry is stored", func(_ *testing.T, p *wirePair) { p.a.Stored(2) }, false},
		{"a later term answers", func(t *testing.T, p *wirePair) {
			p.answer(t, &hraft.AppendEntriesResponse{Term: 3}, nil)
		}, true},
		{"the follower has forgotten", func(_ *testing.T, p *wirePair) { p.owner.commit.Store(0) }, false},
		{"the leadership ends", func(_ *testing.T, p *wirePair) { p.asking.leads.Store(3); p.a.EndEras() }, false},
		{"the group is closed", func(_ *testing.T, p *wirePair) { _ = p.a.Close() }, true},
		{"the follower falls silent", func(_ *testing.T, p *wirePair) {
			for range restLooks {
				p.a.Look()
			}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, pipe, done := restingPipeline(t)
				beats := beatAsync(p.a, p.target, 2)
				for range 5 { // what the follower answers keeps both asleep, however often they are looked at
					for range restLooks - 1 {
						p.a.Look()
					}
					p.answer(t, yes(2), nil)
					contact := <-pipe.Consumer()
					if r := contact.Response(); contact.Error() != nil || len(contact.Request().Entries) > 0 || !r.Success || r.Term != 2 {
						t.Fatalf("the library is told %+v", r)
					}
				}
				if len(done)+len(beats) != 0 {
					t.Fatal("the sender or the heartbeat woke up for nothing")
				}
				c.wake(t, p)
				go func() {
					for {
						select {
						case rpc := <-p.b.Consumer():
							rpc.Respond(yes(2), nil)
						case <-p.b.ctx.Done():
							return
						}
					}
				}()
				if err := outcome(t, done); err != nil {
					t.Fatal(err)
				}
				if err := outcome(t, beats); (err != nil) != c.fails {
					t.Fatal(err)
				}
				if n := p.a.resting.Load(); n != 0 {
					t.Fatalf("%d are said to rest", n)
				}
			})
		})
	}
}

// TestHeartbeatsThatRestEndWithTheLeadership and when the log does not get written (RM11): no other leaves.
func TestHeartbeatsThatRestEndWithTheLeadership(t *testing.T) {
	for name, end := range map[string]func(*testOwner){
		"it ends":        func(o *testOwner) { o.leads.Store(3) },
		"the log stalls": func(o *testOwner) { o.stalled.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, pipe, _ := restingPipeline(t)
				beats := beatAsync(p.a, p.target, 2)
				p.answer(t, yes(2), nil)
				<-pipe.Consumer() // the next leaves later
				end(p.asking)
				if err := outcome(t, beats); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if n := len(p.b.consumer); n != 0 {
					t.Fatalf("%d heartbeats have left since", n)
				}
			})
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
	p, _, done := restingPipeline(t)
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
