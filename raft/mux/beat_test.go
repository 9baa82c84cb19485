package mux

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/raft/wire"
)

func heartbeatOf(term uint64) *hraft.AppendEntriesRequest {
	return &hraft.AppendEntriesRequest{RPCHeader: wire.Header([]byte("a#1")), Term: term}
}

// beatAsync sends a heartbeat and returns its outcome when there is one.
func beatAsync(t *Transport, to hraft.ServerAddress, term uint64) <-chan error {
	done := make(chan error, 1)
	go func() {
		var resp hraft.AppendEntriesResponse
		err := t.AppendEntries("", to, heartbeatOf(term), &resp)
		if err == nil && (!resp.Success || resp.Term != term) {
			err = fmt.Errorf("answered with %+v", resp)
		}
		done <- err
	}()
	return done
}

func outcome(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("no outcome")
		return nil
	}
}

// TestHeartbeatsOfManyGroupsTravelTogether and are answered together, but for the group that is stuck.
func TestHeartbeatsOfManyGroupsTravelTogether(t *testing.T) {
	var received, sent atomic.Int64
	p := newWirePair(t, faulty(
		func(*batch) (bool, error) { received.Add(1); return false, nil },
		func(*batch) (bool, error) { sent.Add(1); return false, nil }))
	const groups = 50
	var outcomes []<-chan error
	for g := range uint64(groups) {
		asking, answering := newTransport(p.muxA, 100+g, "a#1", &testOwner{}), newTransport(p.muxB, 100+g, "b#1", &testOwner{})
		p.muxB.Attach(answering)
		t.Cleanup(func() {
			_ = asking.Close()
			_ = answering.Close()
		})
		if g > 0 { // the main loop of the first does not answer
			go func() {
				select {
				case rpc := <-answering.Consumer():
					rpc.Respond(yes(2), nil)
				case <-answering.ctx.Done():
				}
			}()
		}
		outcomes = append(outcomes, beatAsync(asking, p.target, 2))
	}
	for g, done := range outcomes[1:] {
		if err := outcome(t, done); err != nil {
			t.Fatalf("group %d: %v", g+1, err)
		}
	}
	if err := outcome(t, outcomes[0]); !errors.Is(err, errBeatLate) {
		t.Fatalf("the stuck group: %v", err)
	}
	if received.Load() > groups/4 || sent.Load() > groups/4 {
		t.Fatalf("%d messages one way and %d back for %d heartbeats", received.Load(), sent.Load(), groups)
	}
}

// TestHeartbeatsWaitForTheMainLoop (RM5): the library's handler is not called, and one heartbeat of a
// leader and term is queued at most.
func TestHeartbeatsWaitForTheMainLoop(t *testing.T) {
	p := newWirePair(t)
	beside := make(chan hraft.RPC, 10)
	p.b.SetHeartbeatHandler(func(rpc hraft.RPC) { beside <- rpc })
	for i := range 5 {
		err := outcome(t, beatAsync(p.a, p.target, 2)) // each gives up after a heartbeat timeout
		if !errors.Is(err, errBeatLate) {
			t.Fatalf("heartbeat %d: %v", i, err)
		}
		if n := len(p.b.consumer); n != 1 || len(beside) != 0 {
			t.Fatalf("%d are queued and %d went beside the main loop", n, len(beside))
		}
	}
	last := beatAsync(p.a, p.target, 2)
	newer := beatAsync(p.a, p.target, 3)
	testkit.Eventually(t, patience, func() bool { return len(p.b.consumer) == 2 }, "that of the next term is not queued, or that of this term is twice")
	for term := uint64(2); term <= 3; term++ {
		rpc := <-p.b.Consumer()
		if got := rpc.Command.(*hraft.AppendEntriesRequest); !isHeartbeat(got) || got.Term != term || string(got.Addr) != "a#1" {
			t.Fatalf("the library got %+v", got)
		}
		rpc.Respond(yes(term), nil)
	}
	if err := errors.Join(outcome(t, last), outcome(t, newer)); err != nil {
		t.Fatal(err)
	}
}

// TestEmptyAppendsAreSentOnlyIfTheyTellSomething (RM8): while heartbeats show that the follower knows the
// commit index in the same term, and no longer.
func TestEmptyAppendsAreSentOnlyIfTheyTellSomething(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t) // of term 2, everything up to entry 1 is committed
	p.owner.commit.Store(1)
	p.a.Stored(3) // so that nothing rests
	heartbeat := func(term uint64) {
		t.Helper()
		done := beatAsync(p.a, p.target, 2)
		p.answer(t, &hraft.AppendEntriesResponse{Term: term, Success: term == 2}, nil)
		if err := outcome(t, done); (err == nil) != (term == 2) {
			t.Fatal(err)
		}
	}
	sends := func(args *hraft.AppendEntriesRequest) bool {
		t.Helper()
		f, err := pipe.AppendEntries(args, &hraft.AppendEntriesResponse{})
		if err != nil {
			t.Fatal(err)
		}
		if f.(*appendFuture).link == nil { // answered here
			if err := f.Error(); err != nil || !f.Response().Success {
				t.Fatalf("%+v, %v", f.Response(), err)
			}
			return false
		}
		p.answer(t, yes(2), nil)
		<-pipe.Consumer()
		return true
	}
	if !sends(request(2)) {
		t.Fatal("not sent, though the follower has said nothing")
	}
	heartbeat(2)
	for i := range emptyCredit {
		if sends(request(2)) {
			t.Fatalf("append %d is sent, though the follower knows", i)
		}
	}
	if !sends(request(2)) {
		t.Fatal("not sent, though no heartbeat was answered for long")
	}
	heartbeat(2)
	if !sends(request(2, &hraft.Log{Index: 2, Term: 2})) {
		t.Fatal("entries are not sent")
	}
	more := request(2)
	more.PrevLogEntry, more.LeaderCommitIndex = 2, 2
	if !sends(more) {
		t.Fatal("not sent, though the follower does not know that entry 2 is committed")
	}
	p.owner.commit.Store(0) // it restarted
	heartbeat(2)
	if !sends(request(2)) {
		t.Fatal("not sent, though the follower has forgotten")
	}
	p.owner.commit.Store(2)
	heartbeat(3)
	if !sends(request(2)) {
		t.Fatal("not sent, though the follower is in a later term")
	}
}
