package mux

import (
	"errors"
	"math"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
)

// durable lets the log of a test's group be durable up to index.
func (o *testOwner) durable(index uint64) { o.behind.Store(math.MaxUint64 - index) }

func entry(index uint64) *hraft.Log { return &hraft.Log{Index: index, Term: 2, Data: []byte("x")} }

// passes sends an append without entries, which is answered after all that was answered before.
func (p *wirePair) passes(t *testing.T) {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- p.a.AppendEntries("", p.target, request(2), &hraft.AppendEntriesResponse{}) }()
	p.answer(t, yes(2), nil)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, pipe hraft.AppendPipeline) hraft.AppendFuture {
	t.Helper()
	select {
	case f := <-pipe.Consumer():
		return f
	case <-time.After(patience):
		t.Fatal("no answer")
		return nil
	}
}

func send(t *testing.T, pipe hraft.AppendPipeline, entries ...*hraft.Log) {
	t.Helper()
	if _, err := pipe.AppendEntries(request(2, entries...), &hraft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
}

// TestAFollowerSaysYesOnlyToWhatItsLogHolds (RM10): not before its log is durable through the last entry of the
// request, though its library has said yes, and says no at once.
func TestAFollowerSaysYesOnlyToWhatItsLogHolds(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t)
	p.owner.durable(1)
	send(t, pipe, entry(2), entry(3))
	p.answer(t, yes(2), nil)
	for _, durable := range []uint64{1, 2} { // of a part of the request
		p.owner.durable(durable)
		p.b.Durable()
		p.passes(t)
		if len(pipe.Consumer()) != 0 {
			t.Fatalf("entry 3 was acknowledged, the log is durable through %d", durable)
		}
	}
	p.owner.durable(3)
	p.b.Durable()
	if f := take(t, pipe); f.Error() != nil || !f.Response().Success {
		t.Fatalf("answer: %v, %+v", f.Error(), f.Response())
	}
	p.owner.durable(1) // the same entries again, which may be here and not be durable
	send(t, pipe, entry(2))
	p.answer(t, yes(2), nil)
	p.passes(t)
	if len(pipe.Consumer()) != 0 {
		t.Fatal("a duplicate was acknowledged that is not durable")
	}
	send(t, pipe, entry(4))
	p.answer(t, &hraft.AppendEntriesResponse{Term: 2}, nil)
	select {
	case <-pipe.(*pipeline).ctx.Done(): // no to entry 4 has come
	case <-time.After(patience):
		t.Fatal("a no waits for the log")
	}
}

// TestALeaderCountsOnlyWhatItsOwnLogHolds (RM10): the library is told that a follower has entries when this
// replica has them durably, in a pipeline and one at a time.
func TestALeaderCountsOnlyWhatItsOwnLogHolds(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t)
	p.asking.durable(1)
	send(t, pipe, entry(2), entry(3))
	send(t, pipe)
	p.answer(t, yes(2), nil)
	p.answer(t, yes(2), nil)
	p.passes(t)
	if len(pipe.Consumer()) != 0 {
		t.Fatal("the library was told of entry 3, the own log is durable through 1")
	}
	single := make(chan error, 1)
	go func() {
		single <- p.a.AppendEntries("", p.target, request(2, entry(4)), &hraft.AppendEntriesResponse{})
	}()
	p.answer(t, yes(2), nil)
	p.passes(t)
	p.asking.durable(3)
	p.a.Durable()
	for range 2 { // the empty one behind it kept its place
		if f := take(t, pipe); f.Error() != nil || !f.Response().Success {
			t.Fatalf("answer: %v, %+v", f.Error(), f.Response())
		}
	}
	select {
	case err := <-single:
		t.Fatalf("the library was told of entry 4, the own log is durable through 3: %v", err)
	default:
	}
	p.asking.durable(4)
	p.a.Durable()
	if err := <-single; err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsSaidForALogThatFailed: a group that closes while its log is not durable answers with errors,
// gives back the room of what waited, and leaves nothing behind.
func TestNothingIsSaidForALogThatFailed(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t)
	p.owner.durable(1)
	var futures []hraft.AppendFuture
	for index := range uint64(appendWindow) {
		f, err := pipe.AppendEntries(request(2, entry(index+2)), &hraft.AppendEntriesResponse{})
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
		p.answer(t, yes(2), nil)
	}
	p.passes(t)
	if err := p.b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range futures {
		fails(t, "entries that the follower's log never held", f.Error)
	}
	if !p.muxB.received.TryAcquire(maxReceivedBytes) {
		t.Fatal("the requests of the closed group still take room")
	}
	p.b.Durable()
	if len(p.b.gate.mu.waiting) != 0 || !p.b.gate.hold(9, make(durableWait, 1)) {
		t.Fatal("the gate of a closed group is open, or keeps something")
	}
}

// TestAPipelineClosesWhileItsAnswersWait: nothing of it stays, and nobody is told afterwards.
func TestAPipelineClosesWhileItsAnswersWait(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t)
	p.asking.durable(1)
	send(t, pipe, entry(2))
	p.answer(t, yes(2), nil)
	p.passes(t)
	waiting := func() int {
		p.a.gate.mu.Lock()
		defer p.a.gate.mu.Unlock()
		return len(p.a.gate.mu.waiting)
	}
	if n := waiting(); n != 1 {
		t.Fatalf("%d answers wait", n)
	}
	if err := pipe.Close(); err != nil {
		t.Fatal(err)
	}
	if n := waiting(); n != 0 {
		t.Fatalf("%d answers of a closed pipeline wait", n)
	}
	p.asking.durable(2)
	p.a.Durable()
	if len(pipe.Consumer()) != 0 {
		t.Fatal("a closed pipeline was given an answer")
	}
	p.asking.durable(1) // one at a time ends with the term
	single := make(chan error, 1)
	go func() {
		single <- p.a.AppendEntries("", p.target, request(2, entry(3)), &hraft.AppendEntriesResponse{})
	}()
	p.answer(t, yes(2), nil)
	p.asking.leads.Store(3)
	p.a.EndEras()
	if err := fails(t, "an append of a term that is over", func() error { return <-single }); waiting() != 0 {
		t.Fatalf("%v, and its answer waits", err)
	}
}

// passed notes what a waiter is told.
type passed struct{ errs []error }

func (p *passed) pass(err error) { p.errs = append(p.errs, err) }

// TestTheGateIsBounded: what does not fit is refused, and the rest goes on.
func TestTheGateIsBounded(t *testing.T) {
	durable := uint64(0)
	g := gate{durable: func() uint64 { return durable }}
	w := &passed{}
	for range maxGated {
		if !g.hold(5, w) {
			t.Fatal("it goes on before the log is durable")
		}
	}
	if !g.hold(5, w) || len(w.errs) != 1 || !errors.Is(w.errs[0], errBusy) {
		t.Fatalf("one too many: %v", w.errs)
	}
	durable = 5
	g.open()
	if len(w.errs) != maxGated+1 || w.errs[maxGated] != nil || g.hold(5, w) {
		t.Fatalf("%d of %d went on", len(w.errs)-1, maxGated)
	}
}
