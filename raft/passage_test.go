package raft

import (
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/testkit"
)

// TestAPassageHasTheTimesOfItsOwnEntry and of nothing that is not followed.
func TestAPassageHasTheTimesOfItsOwnEntry(t *testing.T) {
	g := &Group{log: &guardedLog{}}
	p := &g.log.passages
	first, second, other := []byte("same"), []byte("same"), []byte("same")
	endFirst, endSecond := g.Follow(first), g.Follow(second)
	p.storing([]*hraft.Log{{Index: 7, Data: other}, {Index: 8, Data: first}, {Index: 9}})
	p.passed(7, durableAt)
	p.passed(8, durableAt)
	p.passed(9, applyingAt)
	got := endFirst()
	if got.Stored.IsZero() || got.Durable.Before(got.Stored) || got.Applying.Before(got.Durable) || !got.Applied.IsZero() {
		t.Errorf("the entry passed at %+v", got)
	}
	if got := endSecond(); got != (Passage{}) {
		t.Errorf("an entry that was not stored passed at %+v", got)
	}
	if p.count.Load() != 0 || len(p.open) != 0 {
		t.Error("what is settled is still followed")
	}
}

// TestAProposalThatIsFollowedPassesEveryStation in their order.
func TestAProposalThatIsFollowedPassesEveryStation(t *testing.T) {
	c := newTestCluster(t, 3)
	ctx := within(t, patience)
	var p Passage
	testkit.Eventually(t, patience, func() bool {
		g, data := c.leader(7).groups[7], []byte("k=1")
		end := g.Follow(data)
		_, _, err := g.Propose(data).Wait(ctx)
		p = end()
		return err == nil // a leader may be deposed at any time
	})
	for _, step := range [][2]time.Time{{p.Stored, p.Durable}, {p.Durable, p.Applying}, {p.Applying, p.Applied}} {
		if step[0].IsZero() || step[1].Before(step[0]) {
			t.Fatalf("the entry passed at %+v", p)
		}
	}
}
