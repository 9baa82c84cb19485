package mux

import (
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/raft/wire"
)

func TestAClockIsReadInTheMiddleOfTheRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name                 string
		sent, received, peer uint64
		want                 int64
		ok                   bool
	}{
		{"equal", 1000, 1010, 1005, 0, true},
		{"ahead", 1000, 1010, 4605, 3600, true},
		{"behind", 5000, 5100, 1050, -4000, true},
		{"set back meanwhile", 5000, 4999, 5000, 0, false},
		{"set ahead meanwhile", 5000, 3_605_000, 5000, 0, false},
		{"beyond any time", 1, 1, math.MaxUint64, -2, true},
	} {
		if got, ok := clockOffset(c.sent, c.received, c.peer, 500*time.Millisecond); got != c.want || ok != c.ok {
			t.Errorf("%s: %d %v, want %d %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

// TestTheProbesOfAllGroupsShareFrames: while a frame of probes is on its way to a node, those of all
// groups gather for the next one, however many groups there are.
func TestTheProbesOfAllGroupsShareFrames(t *testing.T) {
	const groups, rounds = 64, 3
	var frames atomic.Int64
	p := newWirePair(t, faulty(func(b *batch) (bool, error) {
		rest, err := b.frames()
		for f := (wire.Frame{}); err == nil; {
			more, failed := rest.Next(&f)
			if err = failed; !more {
				break
			}
			if f.Kind == wire.KindProbe {
				frames.Add(1)
			}
		}
		return false, err
	}, fine))
	p.owner.term.Store(5)
	for g := uint64(8); g < 7+groups; g++ {
		b := newTransport(p.muxB, g, "b#1", p.owner)
		p.muxB.Attach(b)
		t.Cleanup(func() { _ = b.Close() })
	}
	answers := make(chan ProbeAnswer, groups)
	for round := range rounds {
		hold := make(chan struct{})
		p.owner.hold.Store(&hold)
		before, asked := frames.Load(), p.owner.asks.Load()
		for g := uint64(7); g < 7+groups; g++ {
			p.muxA.Probe(Probe{Group: g, To: "b#1", Term: 5, Answer: answers}, patience)
			if g == 7 { // the others ask while its frame is on the way
				testkit.Eventually(t, patience, func() bool { return p.owner.asks.Load() == asked+1 })
			}
		}
		p.owner.hold.Store(nil)
		close(hold)
		for range groups {
			if a := <-answers; !a.Granted {
				t.Fatal("a probe was refused")
			}
		}
		if sent := frames.Load() - before; sent != 2 {
			t.Fatalf("round %d: %d frames for the probes of %d groups, of which one was ahead of the others", round, sent, groups)
		}
	}
}
