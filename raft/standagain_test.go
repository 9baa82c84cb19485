package raft

import (
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
)

// lateHeartbeats are timers with which a leader hears of its followers too seldom to keep its office, and by which
// nobody stands for election.
func lateHeartbeats(c *testCluster) {
	c.timing.HeartbeatTimeout, c.stall = 10*time.Minute, time.Hour
	c.timing.LeaderLease, c.timing.CommitTimeout = 500*time.Millisecond, 10*time.Minute
	c.preferred = func(GroupID) string { return "n2" }
}

// electByLooks has the preferred replica stand, and waits until it leads.
func (c *testCluster) electByLooks(name string) *Group {
	c.t.Helper()
	g := c.nodes[name].groups[7]
	for range firstLooks {
		g.listen(0)
	}
	testkit.Eventually(c.t, patience, func() bool { return g.Status().Elections > 0 }, "%s was not elected", name)
	return g
}

// A leader that stood still, or whose followers did, steps down when its lease is over, though they still follow it.
func TestALeaderThatHeardNobodyForALeaseLeadsAgainAtOnce(t *testing.T) {
	c := newTestCluster(t, 3, lateHeartbeats)
	g := c.electByLooks("n2")
	testkit.Eventually(t, patience, func() bool { return g.Status().Elections > 2 }, "nobody leads the group again")
	for _, name := range []string{"n1", "n3"} {
		if n := c.nodes[name].groups[7].Status().Elections; n > 0 {
			t.Errorf("%s was elected %d times", name, n)
		}
	}
}

// A candidate in a later term would depose whom the others elect meanwhile, so a leader that is cut off asks first.
func TestALeaderThatReachesNoMajorityDoesNotStandAgain(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "a", "1")
	leader := c.leader(7)
	i := leader.groups[7].current.Load()
	term := i.CurrentTerm()
	c.isolate(leader)
	testkit.Eventually(t, patience, func() bool { return !i.Leads(term) }, "it leads without a majority")
	looks := leader.host.looks.Load() + 4*looksPerTimeout
	testkit.Eventually(t, patience, func() bool { return leader.host.looks.Load() > looks }, "the host does not look")
	if now := i.CurrentTerm(); now != term {
		t.Fatalf("it led in term %d and went on to %d", term, now)
	}
}
